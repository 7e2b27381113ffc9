# services.rbee.workers: workers that are kept up on this host.
{ config, lib, ... }:
let
  own = import ./types.nix { inherit lib; };
  making = import ./making.nix { inherit lib; };
  cfg = config.services.rbee;
  # Names that every rbee knows (rbee/pool_core/catalog.py).
  builtIn = [
    "llama3"
    "mistral"
    "phi3"
    "qwen"
    "qwen-0.5b"
    "smollm2"
    "tinyllama"
  ];
  inherit (own) optional;

  worker.options = making.options // {
    backend = lib.mkOption {
      type = own.backend;
      example = "cuda";
      description = "What it computes with.";
    };
    model = lib.mkOption {
      type = lib.types.nonEmptyStr;
      example = "chat";
      description = "A name of `services.rbee.models`, one that rbee knows, or a reference, `hf:organisation/name`.";
    };
    memoryBytes = optional (lib.types.ints.between 16777216 35184372088832) 8589934592 "The most memory of the host that it may use, in bytes. null: what it needs.";
    cpuPercent = optional (lib.types.ints.between 1 100000) 400 "The most processor time, in % of one core.";
    lazy = optional lib.types.bool true "Only its socket at first: the first request starts it.";
  };

  tables = lib.mapAttrs (
    _: worker:
    lib.mapAttrs (_: lib.mkDefault) (
      lib.filterAttrs (_: value: value != null) (
        making.table worker
        // {
          inherit (worker) model lazy;
          memory_bytes = worker.memoryBytes;
          cpu_percent = worker.cpuPercent;
        }
      )
    )
  ) cfg.workers;

  # Of "chat+adapter" the model; nothing where it is a reference and not a name.
  named = worker: if builtins.match "(hf:|file:|/).*" worker.model != null then null else lib.head (lib.splitString "+" worker.model);
  known = name: name == null || lib.elem name builtIn || cfg.models ? ${name} || (cfg.settings.models or { }) ? ${name};
  strange = lib.filterAttrs (_: worker: !(known (named worker))) cfg.workers;
in
{
  options.services.rbee.workers = lib.mkOption {
    type = lib.types.attrsOf (lib.types.submodule worker);
    default = { };
    example = lib.literalExpression ''
      {
        chat = { backend = "cuda"; model = "chat"; gpu = 0; slots = 4; pinned = true; };
      }
    '';
    description = ''
      Workers that are there whenever the pool is, by the names they go by. One whose definition changes is replaced when
      it has finished what it does, one that is taken out is stopped then; others are left alone (`rbee-hive sync
      --dry-run` shows what is to be done).
    '';
  };

  config = lib.mkIf (cfg.queen.enable || cfg.pool.enable || cfg.keeper.enable) {
    services.rbee.settings.workers = lib.mkIf (tables != { }) tables;
    warnings = lib.mapAttrsToList (name: worker: ''
      services.rbee.workers.${name}.model is "${worker.model}", a model that is not declared here and that rbee does not
      know by itself. It starts only where the host has it already: services.rbee.models."${named worker}" = { … };
    '') strange;
    assertions = lib.concatLists (
      lib.mapAttrsToList (
        name: worker:
        making.assertions "services.rbee.workers.${name}" worker
        ++ [
          {
            assertion = own.isName name;
            message = "services.rbee.workers: \"${name}\" is no name for a worker. A name is [a-z0-9][a-z0-9._-]*, at most 63 characters.";
          }
          {
            assertion = cfg.pool.enable;
            message = "services.rbee.workers.${name}: a worker needs a pool on its host: services.rbee.pool.enable = true;";
          }
        ]
      ) cfg.workers
    );
  };
}
