# How a worker is made: options of models, whose workers are all made so, and of single workers; and what they are called
# in rbee.toml.
{ lib }:
let
  own = import ./types.nix { inherit lib; };
  inherit (own) optional;
in
{
  options = {
    gpu = optional (lib.types.ints.between 0 63) 0 "The GPU, by the index that `rbee-hive gpu status` shows. null: where there is room.";
    ctx = optional (lib.types.ints.between 64 1048576) 8192 "Context of each slot in tokens.";
    slots = optional (lib.types.ints.between 1 64) 4 "How many answers at once.";
    kv = optional (lib.types.enum [
      "f16"
      "q8_0"
    ]) "q8_0" "How keys and values are kept; q8_0 takes little more than half the memory, where the model can do it.";
    gpuLayers = optional (lib.types.ints.between 1 1000) 20 "So many layers on the GPU and the rest on the host. null: all.";
    idle = optional own.idle 600 "Seconds without a request after which it sleeps and its memory is free.";
    pinned = optional lib.types.bool true "Never sent to sleep for another model.";
    keep = optional lib.types.bool true "Whether conversations outlive its sleep, on disk (docs/keeping.md).";
    priority = optional (lib.types.ints.between (-100) 100) 10 "When memory is wanted, idle workers of lower priority go first. null: 0.";
  };

  table = made: {
    inherit (made)
      backend
      gpu
      ctx
      slots
      kv
      pinned
      keep
      priority
      ;
    gpu_layers = made.gpuLayers;
    idle_s = made.idle;
  };

  # option: as the user wrote it, services.rbee.models.chat.
  assertions = option: made: [
    {
      assertion = made.backend == "cpu" -> made.gpu == null && made.gpuLayers == null;
      message = ''
        ${option}: gpu or gpuLayers is set, and backend is "cpu", which uses no GPU. Take one of the two out.
      '';
    }
  ];
}
