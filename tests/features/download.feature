@download
Feature: Downloads, whatever the hub does
  The hub is a real server on mac's loopback, which does wrong what it is told to; the client is the real one.

  Scenario: How far it is, is told
    Given the hub is told {"rate_bytes_per_s": 1000000}
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 0
    And it says "downloading hf:acme/small"
    And it says "B of 2.7 MiB"
    When blep runs `rbee pool models verify hf:acme/small --host mac`
    Then it exits with 0

  Scenario: A repository that the hub does not have
    Given the hub is told {}
    When blep runs `rbee pool models download hf:acme/nothing --host mac`
    Then it exits with 66
    And it says "the hub has no repository acme/nothing"

  Scenario: Terms that nobody has accepted
    Given the hub is told {"gated": true}
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 77
    And it says "gated"
    And it says "HF_TOKEN"

  Scenario: A repository that wants to know who asks
    Given the hub is told {"token": "secret"}
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 77
    And it says "HF_TOKEN"

  Scenario: A connection that is cut is taken up where it was
    Given the hub is told {"cut_after_bytes": 1500000, "cuts": 1}
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 0
    And the hub was asked for a range of bytes

  Scenario: A hub that falls silent is left, and what came is kept
    Given the hub is told {"stall_after_bytes": 1500000, "stalls": 1}
    When blep begins `rbee pool models download hf:acme/small --host mac`
    And the first bytes are on the disk of mac
    And Ctrl-C is pressed
    And it is left to end
    Then it exits with 130
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 0
    And the hub was asked for a range of bytes

  Scenario: A daemon that is killed goes on where it was
    Given the hub is told {"stall_after_bytes": 1500000, "stalls": 1}
    When blep begins `rbee pool models download hf:acme/small --host mac`
    And the first bytes are on the disk of mac
    And the process of rbee-pool.service on mac is killed
    And it is left to end
    Then it exits with 69
    When the hub does nothing wrong any more
    And blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 0
    And the hub was asked for a range of bytes

  Scenario: Bytes that are not the promised ones leave no model
    Given the hub is told {"lie_about_sha256": true}
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 69
    And it says "sha256"
    When blep runs `rbee pool models list --host mac`
    Then it does not say "acme"

  Scenario: A hub that answers with a page for people
    Given the hub is told {"portal": true}
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 69
    And it says "hub"

  Scenario: A disk that is too small is said before the first byte
    Given the hub is told {}
    And the disk of models on mac has 1 MiB
    When blep runs `rbee pool models download hf:acme/small --host mac`
    Then it exits with 73
    And it says "bytes free"
