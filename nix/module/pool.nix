# services.rbee.pool: this host's workers, models and GPUs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  own = import ./types.nix { inherit lib; };
  places = import ./places.nix { inherit lib; };
  daemon = import ./daemon.nix { inherit lib; };
  cfg = config.services.rbee;
  pool = cfg.pool;
  # A path that a switch or the garbage collector does not take away: a worker that sleeps wakes up as what is current.
  worker = "/run/current-system/sw/bin/llm-worker-rbee";
  # What it does not take over by a reload (rbee/pool_managerd/daemon.py).
  restarted = [
    "body_limit_bytes"
    "connections"
    "id"
    "mode"
  ];
  queens = lib.toList pool.queen;
  # NixOS writes the host's own names there, into /etc/hosts.
  loopbackNames = lib.concatMap (address: config.networking.hosts.${address} or [ ]) [
    "127.0.0.1"
    "127.0.0.2"
    "::1"
  ];
  elsewhere = pool.queen != null && !(lib.all places.isHere queens);
  weight = lib.types.ints.between 1 10000;
in
{
  options.services.rbee.pool =
    daemon.options {
      name = "pool";
      port = 9200;
      host = "workstation";
      reachedAt = "http://192.168.1.20:9200";
    }
    // {
      enable = lib.mkEnableOption "pool-managerd: this host's workers, models and GPUs";

      queen = lib.mkOption {
        type = lib.types.nullOr (lib.types.either own.url (lib.types.listOf own.url));
        default = if cfg.queen.enable then places.here cfg.queen else null;
        defaultText = lib.literalMD "the queen of this host, if it has her";
        example = "http://blep.home.arpa:8080";
        description = "Whom to tell what this host can do. Of several queens, one of whom reigns, all.";
      };

      settings = lib.mkOption {
        type = lib.types.attrsOf (pkgs.formats.toml { }).type;
        default = { };
        example.gpu_limit_c = 83;
        description = "More keys of the table [pool] of rbee.toml.";
      };

      modelsDir = lib.mkOption {
        type = lib.types.nullOr (own.secret // { description = "absolute path of a folder, not in the Nix store"; });
        default = null;
        example = "/srv/models";
        description = ''
          Where downloaded models are kept, a folder that is made and given to user rbee. null: /var/lib/rbee/models.
          Not in a home: the pool does not see any. Models of the store need no room here.
        '';
      };

      hfTokenFile = lib.mkOption {
        type = lib.types.nullOr own.secret;
        default = null;
        example = "/run/secrets/hugging-face";
        description = "Your token of the model hub, for models that want one: a file that only root may read.";
      };

      workerPorts = lib.mkOption {
        type = lib.types.submodule {
          options = {
            from = lib.mkOption {
              type = lib.types.ints.between 1 65535;
              default = 8001;
              description = "The first.";
              example = 18001;
            };
            to = lib.mkOption {
              type = lib.types.ints.between 1 65535;
              default = 8999;
              description = "The last.";
              example = 18099;
            };
          };
        };
        default = { };
        example = {
          from = 18001;
          to = 18099;
        };
        description = "Ports for workers; each takes the first that is free.";
      };

      workerSlice = {
        memoryMax = own.optional lib.types.nonEmptyStr "80%" "Memory of all workers of this host together, MemoryMax=.";
        memoryHigh = own.optional lib.types.nonEmptyStr "24G" "Memory above which all workers together are slowed down, MemoryHigh=.";
        cpuQuota = own.optional (lib.types.ints.between 1 100000) 600 "Processor time of all workers together, in % of one core, CPUQuota=.";
        cpuWeight = own.optional weight 50 "Their share of the processors where others want them too, CPUWeight=; 100 is what others have.";
        ioWeight = own.optional weight 50 "Their share of the disks where others want them too, IOWeight=.";
        allowedCpus = own.optional (lib.types.strMatching "[0-9]+([-, ][0-9]+)*") "2-7" "The processors they may use, AllowedCPUs=.";
      };
    };

  config = lib.mkMerge [
    (lib.mkIf pool.enable (
      lib.mkMerge [
        (daemon.config {
          unit = "rbee-pool";
          option = "services.rbee.pool";
          part = pool;
          inherit (cfg) configFile tokenFile openFirewall;
          settings = cfg.settings.pool;
          systemd = config.systemd.package;
        })
        {
          services.rbee.settings.pool = lib.mkMerge [
            {
              bind = lib.mkDefault (places.socket pool);
              url = lib.mkDefault pool.url;
              queen = lib.mkDefault (if pool.queen == null then null else lib.concatStringsSep ", " queens);
              models_dir = lib.mkDefault pool.modelsDir;
              worker_ports = lib.mkDefault "${toString pool.workerPorts.from}-${toString pool.workerPorts.to}";
            }
            pool.settings
          ];
          # Its own command finds it where the queen does, so that a later `rbee pool register` has nothing to change.
          services.rbee.settings.hive.pool = lib.mkDefault (if pool.url != null then pool.url else places.here pool);

          systemd.services.rbee-pool = {
            environment.RBEE_WORKER_EXEC = worker;
            environment.HF_TOKEN_PATH = lib.mkIf (pool.hfTokenFile != null) "%d/hugging-face";
            restartTriggers = [
              (builtins.hashString "sha256" (
                builtins.toJSON (lib.filterAttrs (key: _: lib.elem key restarted) cfg.settings.pool)
              ))
            ];
            serviceConfig.LoadCredential = lib.optional (pool.hfTokenFile != null) "hugging-face:${pool.hfTokenFile}";
            serviceConfig.ReadWritePaths = lib.mkIf (pool.modelsDir != null) [ pool.modelsDir ];
            unitConfig.RequiresMountsFor = lib.mkIf (pool.modelsDir != null) [ pool.modelsDir ];
          };
          systemd.tmpfiles.settings.rbee-models = lib.mkIf (pool.modelsDir != null) {
            ${pool.modelsDir}.d = {
              mode = "0755";
              user = "rbee";
              group = "rbee";
            };
          };

          systemd.sockets.rbee-broker.wantedBy = [ "sockets.target" ];
          systemd.services.rbee-broker = {
            environment.RBEE_WORKER_EXEC = worker;
            stopIfChanged = false;
          };

          # Always there while the pool is: a switch that took it away would end all workers.
          systemd.slices.rbee-workers.sliceConfig = lib.filterAttrs (_: value: value != null) {
            MemoryMax = pool.workerSlice.memoryMax;
            MemoryHigh = pool.workerSlice.memoryHigh;
            CPUQuota = if pool.workerSlice.cpuQuota == null then null else "${toString pool.workerSlice.cpuQuota}%";
            CPUWeight = pool.workerSlice.cpuWeight;
            IOWeight = pool.workerSlice.ioWeight;
            AllowedCPUs = pool.workerSlice.allowedCpus;
          };

          networking.firewall.allowedTCPPortRanges = lib.optional (
            cfg.openFirewall && !(places.isLoopback pool.listen)
          ) { inherit (pool.workerPorts) from to; };

          warnings = lib.optional (pool.queen == null) ''
            services.rbee.pool.queen is not set and this host has no queen, so no job will come here.
            Name her: services.rbee.pool.queen = "http://blep.home.arpa:8080";
          '';
          assertions = [
            {
              assertion = cfg.queen.enable -> cfg.queen.port != pool.port;
              message = ''
                services.rbee.queen.port and services.rbee.pool.port are both ${toString pool.port}, and only one can have
                it. The queen's is 8080 and the pool's 9200 unless you say otherwise.
              '';
            }
            {
              assertion = (elsewhere || !(places.isLoopback pool.listen)) -> cfg.tokenFile != null;
              message = ''
                services.rbee.tokenFile is not set, so this host would make a token of its own, and queen and pool on
                different hosts would refuse each other. Bring the same token to all hosts and name the file:
                services.rbee.tokenFile = "/run/secrets/rbee-token"; or copy /etc/rbee/token of the queen's host to the
                others yourself and say so: services.rbee.tokenFile = "/etc/rbee/token";
              '';
            }
            {
              assertion = elsewhere && pool.url == null -> !(places.isLoopback pool.listen);
              message = ''
                services.rbee.pool.listen is ${pool.listen}, where ${lib.concatStringsSep ", " queens} cannot reach it.
                Let it listen on the network: services.rbee.pool.listen = "0.0.0.0"; and say how it is reached:
                services.rbee.pool.url = "http://192.168.1.20:${toString pool.port}";
              '';
            }
            {
              assertion = places.isEvery pool.listen -> pool.url != null;
              message = ''
                services.rbee.pool.url is not set, and ${pool.listen} is every address: the queen has to be told one.
                services.rbee.pool.url = "http://192.168.1.20:${toString pool.port}";
              '';
            }
            {
              assertion = elsewhere && pool.url != null -> !(lib.elem (places.hostOf pool.url) loopbackNames);
              message = ''
                services.rbee.pool.url is ${toString pool.url}, and NixOS takes that name for a loopback address on this
                host itself, where its workers would listen and the queen would not find them. Give the host's address:
                services.rbee.pool.url = "http://192.168.1.20:${toString pool.port}"; or, where every host can look the
                name up, networking.hosts."127.0.0.2" = lib.mkForce [ ];
              '';
            }
            {
              assertion = pool.workerPorts.from <= pool.workerPorts.to;
              message = "services.rbee.pool.workerPorts: from is ${toString pool.workerPorts.from}, expected at most to, ${toString pool.workerPorts.to}.";
            }
            {
              assertion =
                pool.modelsDir != null
                -> lib.all (home: !(lib.hasPrefix home "${pool.modelsDir}/")) [
                  "/home/"
                  "/root/"
                  "/run/user/"
                ];
              message = "services.rbee.pool.modelsDir is ${toString pool.modelsDir}, and the pool sees nobody's home. Take a folder elsewhere, /srv/models say.";
            }
          ];
        }
      ]
    ))
    # See queen.nix. Without the pool nobody would wake or stop its workers: their slice goes too, and so do they, after
    # the grace they have to finish in.
    (lib.mkIf (cfg.queen.enable && !pool.enable) {
      systemd.sockets.rbee-pool.enable = false;
      systemd.services.rbee-pool.enable = false;
      systemd.sockets.rbee-broker.enable = false;
      systemd.services.rbee-broker.enable = false;
      systemd.slices.rbee-workers.enable = false;
    })
  ];
}
