@validation
Feature: What is wrong is named, all of it, before any work

  Scenario: A model that is nowhere
    When blep runs `rbee jobs submit --model llama9 --prompt hello`
    Then it exits with 66
    And it says "no pool has a model llama9, and the catalog does not know it"

  Scenario: Every wrong field at once
    When blep posts to http://127.0.0.1:8080/v2/tasks the body {"model": "", "prompt": "x", "max_tokens": 0, "top_p": 7}
    Then the status is 400
    And the error is invalid_request
    And the error names max_tokens
    And the error names top_p

  Scenario: Half a body
    When blep posts to http://127.0.0.1:8080/v2/tasks the body {"model": "tiny",
    Then the status is 400
    And the error is invalid_request

  Scenario: A prompt that is too long for its model
    Given blep has run `sh -c 'seq 20000 >/run/prompt'`
    When blep runs `rbee jobs submit --model tiny --prompt-file /run/prompt`
    Then it exits with 64
    And it says "context"

  Scenario: A prompt that is larger than any may be
    When blep posts to http://127.0.0.1:8080/v2/tasks a prompt of 2000000 bytes
    Then the status is 400
    And the error names prompt

  Scenario: A body that is larger than any may be
    When blep posts to http://127.0.0.1:8080/v2/tasks a prompt of 9000000 bytes
    Then the status is 413
    And the error is payload_too_large

  Scenario: A pool that is not there
    When blep runs `rbee jobs submit --model tiny --prompt hello --pool cellar`
    Then it exits with 66
    And it says "no pool cellar"

  Scenario: An address that is none
    When blep runs `rbee orchestrator listen everywhere`
    Then it exits with 64
    And it says "expected an IP address with a port"

  Scenario: A setting that is wrong stops nothing that runs, and is named
    When mac runs `env RBEE_WORKER_SLOTS=1000 pool-managerd --check-config`
    Then it exits with 78
    And it says "worker.slots: is 1000, expected 1..64"
    And on mac rbee-pool.service is active
