@worker
Feature: The life of a worker
  systemd starts it, limits it, wakes it and tells how it ended.

  Scenario: It is ready when the command says so
    When blep runs `rbee pool worker spawn cpu --model tiny --host mac`
    Then it exits with 0
    And it says "state ready"
    And on mac rbee-worker-cpu-0.service is active

  Scenario: Its memory is limited by systemd
    When mac runs `rbee-hive worker spawn cpu --model tiny --memory 600M`
    Then it exits with 0
    And the property MemoryMax of rbee-worker-cpu-0.service on mac is 629145600
    And the property Transient of rbee-worker-cpu-0.service on mac is yes

  Scenario: Loading is told step by step
    When mac runs `rbee-hive worker spawn cpu --model smollm2 --events --format json`
    Then it exits with 0
    And it says "progress"
    And it says "ready"

  Scenario: A port that is taken is passed over
    Given a stranger listens on port 8001 of mac
    When mac runs `rbee-hive worker spawn cpu --model tiny --format json`
    Then it exits with 0
    And its state is ready
    And it listens on port 8002

  Scenario: A worker that crashes at its start is told with its last words, and leaves nothing
    Given the program of workers on mac crashes at its start
    When mac runs `rbee-hive worker spawn cpu --model tiny`
    Then it exits with 69
    And it says "could not load tiny"
    And on mac no unit rbee-worker-cpu-* is left

  Scenario: A worker that loads for too long is ended
    Given the program of workers on mac never gets ready
    When mac runs `env RBEE_WORKER_LOAD_TIMEOUT_S=3 rbee-hive worker spawn cpu --model tiny --direct`
    Then it exits with 75
    And it says "did not load tiny in time"
    And on mac no unit rbee-worker-cpu-* is left

  Scenario: Idle, it exits; its socket stays, and the next request wakes it
    Given mac has run `rbee-hive worker spawn cpu --model tiny --idle 1`
    When 1 s of idleness have passed for rbee-worker-cpu-0.service on mac
    Then on mac rbee-worker-cpu-0.socket is active
    And the worker worker-cpu-0 on mac is asleep
    When blep runs `rbee jobs submit --model tiny --prompt hello --pool mac --max-tokens 2 --format json`
    Then it exits with 0
    And its state is completed

  Scenario: Stopped, nothing of it is left
    Given mac has run `rbee-hive worker spawn cpu --model tiny`
    When blep runs `rbee pool worker stop worker-cpu-0 --host mac --yes`
    Then it exits with 0
    And on mac no unit rbee-worker-cpu-* is left

  Scenario: It is busy while it answers
    Given mac has run `rbee-hive worker spawn cpu --model smollm2`
    When blep begins `rbee jobs submit --model smollm2 --prompt hello --pool mac --max-tokens 4000 --ignore-eos`
    And it has begun to answer
    Then the worker worker-cpu-0 on mac is busy
    When Ctrl-C is pressed
    And it is left to end
    Then the worker worker-cpu-0 on mac is ready

  Scenario: Drained, it finishes and is gone
    Given mac has run `rbee-hive worker spawn cpu --model tiny`
    When blep runs `rbee pool worker drain worker-cpu-0 --host mac`
    Then it exits with 0
    And on mac no unit rbee-worker-cpu-* is left

  Scenario: A pool that drains starts nothing
    Given blep has run `rbee pool drain --host mac`
    When mac runs `rbee-hive worker spawn cpu --model tiny`
    Then it exits with 75
    And it says "pool mac is draining"

  Scenario: A name is taken once
    Given mac has run `rbee-hive worker spawn cpu --model tiny --id big`
    When mac runs `rbee-hive worker spawn cpu --model tiny --id big`
    Then it exits with 73
    And it says "big"

  Scenario: A pool that is restarted finds its workers again
    Given mac has run `rbee-hive worker spawn cpu --model tiny`
    When rbee-pool.service on mac is restarted
    Then the worker worker-cpu-0 on mac is ready
    And on mac rbee-worker-cpu-0.service is active

  Scenario: A worker that is killed is started again
    Given mac has run `rbee-hive worker spawn cpu --model tiny`
    When the process of rbee-worker-cpu-0.service on mac is killed
    Then the worker worker-cpu-0 on mac is ready
    And the property NRestarts of rbee-worker-cpu-0.service on mac is 1
