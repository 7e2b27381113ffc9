@preflight
Feature: What is checked before anything is started
  What cannot work is refused at once, with the numbers, and nothing falls back to something else.

  Scenario: Less memory than the worker needs
    When blep runs `rbee-hive worker spawn cpu --model tiny --memory 900G`
    Then it exits with 75
    And it says "the worker needs 900.0 GiB of memory"
    And on blep no unit rbee-worker-cpu-* is left

  Scenario: A GPU backend on a host without a GPU
    When blep runs `rbee-hive worker spawn cuda --model tiny`
    Then it exits with 69
    And it says "backend cuda is not available on this host"
    And it says "hint: ask for one of: cpu"

  Scenario: Metal on Linux
    When blep runs `rbee pool worker spawn metal --model tiny --host mac`
    Then it exits with 69
    And it says "backend metal is not available"

  Scenario: No GPU memory to look at is said, and why
    When blep runs `rbee pool gpu status --host mac`
    Then it exits with 0
    And it says "no GPUs: NVML is not installed"

  Scenario: A GPU that a CPU does not have
    When blep runs `rbee-hive worker spawn cpu --model tiny --gpu 0`
    Then it exits with 64
    And it says "gpu is 0, but the backend is cpu"

  Scenario: More context than the model was trained on
    When blep runs `rbee-hive worker spawn cpu --model tiny --ctx 100000`
    Then it exits with 64
    And it says "was trained on"

  Scenario: A backend that no pool offers
    When blep runs `rbee jobs submit --model tiny --prompt hello --backend cuda`
    Then it exits with 69
    And it says "no pool offers the backend cuda"

  Scenario: A disk that is too small for a download
    Given the disk of models on mac has 1 MiB
    And workstation has a model llama of acme's that mac lacks
    When blep runs `rbee pool models download hf:acme/llama::file=llama.gguf --host mac`
    Then it exits with 73
    And it says "bytes free"
