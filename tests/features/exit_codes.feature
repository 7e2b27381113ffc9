@exit-codes
Feature: Exit codes are those of sysexits
  Scripts and systemd read them.

  Scenario Outline: <code> for <what>
    When blep runs `<command>`
    Then it exits with <code>

    Examples:
      | code | what                     | command                                            |
      | 0    | help                     | rbee --help                                        |
      | 0    | a version                | rbee-hive --version                                |
      | 64   | words that make no sense | rbee pool dance                                    |
      | 64   | a number that is none    | rbee jobs list --limit many                        |
      | 66   | a job that is not there  | rbee jobs status job-nothing                       |
      | 69   | nobody at the address    | env RBEE_KEEPER_QUEEN=http://127.0.0.1:9 rbee jobs list |
      | 73   | a file that is there     | rbee token new --output /etc/rbee/token            |
      | 78   | a configuration file that is not there | rbee jobs list --config /nowhere.toml |
      | 42   | what a remote command ended with | rbee pool exec --host mac -- sh -c 'exit 42' |
