@inference
Feature: Jobs across hosts

  Scenario: Cold: a job starts the worker that it needs, where it is told to
    When blep runs `rbee jobs submit --model tiny --prompt hello --pool workstation --max-tokens 4 --format json`
    Then it exits with 0
    And its state is completed
    And its pool is workstation
    And on workstation rbee-worker-cpu-0.service is active

  Scenario: Warm: the worker that is there is used
    Given mac has run `rbee-hive worker spawn cpu --model tiny --id warm`
    When blep runs `rbee jobs submit --model tiny --prompt hello --pool mac --max-tokens 4 --format json`
    Then it exits with 0
    And its worker is warm

  Scenario: A real model answers
    When blep runs `rbee jobs submit --model smollm2 --prompt "Say hello." --pool mac --max-tokens 8`
    Then it exits with 0
    And it says something

  Scenario: A job survives the restart of the queen
    Given mac has run `rbee-hive worker spawn cpu --model tiny`
    And blep has run `rbee jobs submit --model tiny --prompt hello --pool mac --max-tokens 400 --ignore-eos --detach`
    And what it says is remembered as job
    When rbee-queen.service on blep is restarted
    Then the job job is completed

  Scenario: A worker that dies before it said anything costs nobody the answer
    Given mac has run `rbee-hive worker spawn cpu --model tiny`
    When the process of rbee-worker-cpu-0.service on mac is killed
    And blep runs `rbee jobs submit --model tiny --prompt hello --pool mac --max-tokens 4 --format json`
    Then it exits with 0
    And its state is completed

  Scenario: Ctrl-C cancels the job
    When blep begins `rbee jobs submit --model smollm2 --prompt hello --pool mac --max-tokens 4000 --ignore-eos`
    And it has begun to answer
    And Ctrl-C is pressed
    And it is left to end
    Then it exits with 130
    And it says "cancelled"
    When blep runs `rbee jobs list --state running --format json`
    Then it says "[]"

  Scenario: Cancelling twice is the same as once
    Given blep has run `rbee jobs submit --model smollm2 --prompt hello --pool mac --max-tokens 4000 --ignore-eos --detach`
    And what it says is remembered as job
    When blep runs `rbee jobs cancel <job>`
    Then it exits with 0
    When blep runs `rbee jobs cancel <job>`
    Then it exits with 0
    And the job job is cancelled

  Scenario: A client that goes away takes its work with it
    Given mac has run `rbee-hive worker spawn cpu --model smollm2`
    And blep has run `cat /etc/rbee/token`
    And what it says is remembered as fleet
    When blep begins `curl -sN http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -H 'Authorization: Bearer <fleet>' -d '{"model": "smollm2", "stream": true, "max_tokens": 4000, "ignore_eos": true, "messages": [{"role": "user", "content": "hello"}]}'`
    And it has begun to answer
    And Ctrl-C is pressed
    Then no job runs any more

  Scenario: Several at once all end well
    When 6 jobs are submitted at once on blep for tiny
    Then the remembered states is "completed"

  Scenario: A pool that drains gets nothing, the others do its work
    Given blep has run `rbee pool drain mac`
    When blep runs `rbee jobs submit --model tiny --prompt hello --max-tokens 2 --format json`
    Then it exits with 0
    And its state is completed
    When blep runs `rbee pool undrain mac`
    Then it exits with 0
    And the queen has the pool mac ready
