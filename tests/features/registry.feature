@registry @ssh
Feature: The registry of hosts
  A host becomes a pool of the queen in one command over ssh, and stops being one in another.

  Scenario: Registering a host again changes nothing
    Given blep has run `sha256sum /etc/rbee/rbee.toml`
    And what it says is remembered as before
    When blep runs `rbee pool register mac`
    Then it exits with 0
    And it says "state ready"
    When blep runs `sha256sum /etc/rbee/rbee.toml`
    And what it says is remembered as after
    Then the remembered after equals before

  Scenario: A host that is removed is told, and forgotten
    When blep runs `rbee pool remove mac --yes`
    Then it exits with 0
    And the queen knows no pool mac
    And on mac rbee-pool.socket is inactive
    And mac has no file /etc/rbee/joined
    When blep runs `rbee pool register mac`
    Then it exits with 0
    And the queen has the pool mac ready

  Scenario: Removing wants to be meant
    When blep runs `rbee pool remove mac`
    Then it exits with 64
    And it says "add --yes to go on"
    And the queen has the pool mac ready

  Scenario: The token goes to a new host unseen
    When blep runs `rbee pool register mac`
    Then it exits with 0
    And the file /etc/rbee/token of mac has the mode 600
    And nobody finds the token in the journal of mac

  Scenario: A name that could be anything else is no host
    When blep runs `rbee pool register '$(reboot)'`
    Then it exits with 64
    And it says "expected it to match"

  Scenario: A host that cannot be reached is not registered
    Given the link of mac is cut
    When blep runs `rbee pool register mac`
    Then it does not say "state ready"
    And it says "hint:"

  Scenario: Pools are listed with what they have
    When blep runs `rbee pool list --format json`
    Then it exits with 0
    And its mac.state is ready
    And its workstation.state is ready

  Scenario: A pool that nobody registered is not found
    When blep runs `rbee pool status cellar`
    Then it exits with 66
    And it says "cellar"

  Scenario: A pool whose host is gone is lost, and back when it is back
    Given the link of mac is cut
    Then the queen has the pool mac lost
