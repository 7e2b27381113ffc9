@ssh
Feature: What ssh may answer
  Whatever goes wrong between here and a host is a sentence that names the host, and a next step.

  Scenario: A host that is not in the configuration
    When blep runs `rbee pool status --host cellar`
    Then it exits with 66
    And it says "no host 'cellar'"
    And it says "hint: rbee-keeper pool register HOST"

  Scenario: A name that nobody resolves
    Given the configuration of blep also says
      """
      [hosts.nowhere]
      ssh = "nowhere.home.arpa"
      """
    When blep runs `rbee pool status --host nowhere`
    Then it exits with 69
    And it says "no such host, 'nowhere.home.arpa' cannot be resolved"

  Scenario: Nobody listens
    Given no sshd listens on mac
    When blep runs `rbee pool status --host mac`
    Then it exits with 69
    And it says "mac refuses ssh on port 22"
    And it says "hint: systemctl start ssh"

  Scenario: A key that the host does not know
    Given mac does not know the key of blep
    When blep runs `rbee pool status --host mac`
    Then it exits with 77
    And it says "permission denied"
    And it says "hint: ssh-copy-id mac"

  Scenario: A host key that nobody has compared yet
    Given blep does not know the host key of mac
    When blep runs `rbee pool status --host mac`
    Then it exits with 77
    And it says "the host key of mac is not known yet"

  Scenario: A host key that has changed
    Given mac shows the host key of workstation
    When blep runs `rbee pool status --host mac`
    Then it exits with 77
    And it says "another host key"
    And it says "ssh-keygen -R mac"

  Scenario: A host that does not answer hides nobody
    Given the link of mac is cut
    When blep runs `rbee pool status --host mac --host workstation`
    Then it says "rbee-keeper mac:"
    And it says "workstation active (running)"

  Scenario: rbee is not installed there
    Given rbee-hive is missing on mac
    When blep runs `rbee pool state --host mac`
    Then it exits with 66
    And it says "rbee-hive is missing on mac: rbee is not installed there"

  Scenario: Another version there
    Given rbee-hive on mac does `RBEE_CALLER_VERSION=9.9.9 exec rbee-hive.away "$@"`
    When blep runs `rbee pool state --host mac`
    Then it exits with 78
    And it says "the rbee-keeper that asks is 9.9.9"

  Scenario: A start-up file that prints something
    Given rbee-hive on mac does `echo Welcome; exec rbee-hive.away "$@"`
    When blep runs `rbee pool state --host mac`
    Then it exits with 69
    And it says "answered what is no answer of ours"
    And it says "Welcome"

  Scenario: Shell characters in a name stay characters
    When blep runs `rbee pool models info '$(touch /tmp/pwned)' --host mac`
    Then it exits with 64
    And mac has no file /tmp/pwned
