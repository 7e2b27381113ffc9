@auth
Feature: Who may do what

  Scenario Outline: <who> is not let in
    When blep asks GET http://mac:9200/v2/state with the token <token>
    Then the status is 401
    And the error is unauthorized

    Examples:
      | who                 | token                                    |
      | a wrong token       | 0123456789abcdef0123456789abcdef         |
      | half a token        | 0123                                     |

  Scenario: Nobody without a token is let in
    When blep asks GET http://mac:9200/v2/state without a token
    Then the status is 401
    And the error is unauthorized

  Scenario: Whoever has the fleet's token is
    When blep asks GET http://mac:9200/v2/state
    Then the status is 200
    And the answer's id is mac

  Scenario: Health is open
    When blep asks GET http://mac:9200/health without a token
    Then the status is 200

  Scenario: Metrics are not open to the network
    When blep asks GET http://mac:9200/metrics without a token
    Then the status is 401

  Scenario: A worker answers to nobody but the queen
    Given mac has run `rbee-hive worker spawn cpu --model tiny`
    When blep asks GET http://mac:8001/v1/ready without a token
    Then the status is 401

  Scenario: Without a token the network is not served, and how to make one is said
    Given mac has no token
    When mac runs `env -u CREDENTIALS_DIRECTORY pool-managerd --bind 0.0.0.0:9300`
    Then it exits with 78
    And it says "reachable from the network, but no token is configured"
    And it says "rbee-keeper token new"

  Scenario: A token file that others can read is refused
    Given the file /etc/rbee/token of mac is open to others
    When mac runs `rbee-hive status --http`
    Then it exits with 78
    And it says "has mode 0644, expected 0600"
