@catalog
Feature: Models and where they come from

  Scenario: The catalog knows the built-in models
    When blep runs `rbee pool models catalog --format json`
    Then it exits with 0
    And its tinyllama.reference is hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF::file=tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf

  Scenario: A model that is here is not downloaded again
    When mac runs `rbee-hive models download smollm2`
    Then it exits with 0
    And it says "smollm2"

  Scenario: A model that nobody knows
    When blep runs `rbee pool models download llama9 --host mac`
    Then it exits with 66
    And it says "no model llama9 in the catalog, nor at another pool"
    And it says "hint: rbee-keeper pool models catalog --host mac"

  Scenario: A hub that is not there
    Given the hub of mac is not there
    When blep runs `rbee pool models download tinyllama --host mac`
    Then it exits with 69
    And it says "http://127.0.0.1:9"

  Scenario: Every byte is read again
    When mac runs `rbee-hive models verify tiny`
    Then it exits with 0
    And it says "intact yes"

  Scenario: A flipped byte is found
    Given a byte of the model tiny is flipped on mac
    When blep runs `rbee pool models verify tiny --host mac`
    Then it exits with 69
    And it says "tiny is damaged"
    And it says "hint:"

  Scenario: A model in use is not deleted
    Given mac has run `rbee-hive worker spawn cpu --model tiny --lazy`
    When blep runs `rbee pool models delete tiny --host mac --yes`
    Then it exits with 73
    And it says "model tiny is used by worker-cpu-0"

  Scenario: A model is held in memory, and shown so
    When blep runs `rbee pool models cache tiny --host mac`
    Then it exits with 0
    And on mac rbee-model-tiny.service is active
    When mac runs `rbee-hive status`
    Then it says "tiny (held in memory)"
    When blep runs `rbee pool models uncache tiny --host mac`
    Then it exits with 0
    And on mac no unit rbee-model-* is left

  Scenario: A file outside the model roots is not imported
    When mac runs `rbee-hive models import /etc/passwd`
    Then it exits with 77
    And it says "is under none of the model roots"

  Scenario: What is no model is not imported
    Given mac has run `cp /etc/passwd /var/lib/rbee/models/passwd.gguf`
    When mac runs `rbee-hive models import /var/lib/rbee/models/passwd.gguf`
    Then it exits with 64
    And it says "passwd.gguf"
    When mac runs `rm /var/lib/rbee/models/passwd.gguf`
    Then it exits with 0
