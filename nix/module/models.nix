# services.rbee.models: which models this host has, where they come from, and how their workers are made.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  own = import ./types.nix { inherit lib; };
  making = import ./making.nix { inherit lib; };
  cfg = config.services.rbee;

  hub.options = {
    repo = lib.mkOption {
      type = own.repository;
      example = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
      description = "The repository.";
    };
    file = lib.mkOption {
      type = own.gguf;
      example = "qwen2.5-0.5b-instruct-q4_k_m.gguf";
      description = "The file in it; of a split model the first part.";
    };
    revision = lib.mkOption {
      type = lib.types.nonEmptyStr;
      default = "main";
      example = "v1.0";
      description = "Branch, tag or commit. With a hash take a commit, since a branch moves on.";
    };
    hash = lib.mkOption {
      type = lib.types.nullOr own.sri;
      default = null;
      example = lib.literalExpression "lib.fakeHash";
      description = ''
        The file's hash: then Nix downloads it while the system is built, and the host has exactly this file, from the
        store. Put `lib.fakeHash` here, build, and Nix tells the right one.
      '';
    };
    hashes = lib.mkOption {
      type = lib.types.listOf own.sri;
      default = [ ];
      example = lib.literalExpression "[ lib.fakeHash lib.fakeHash ]";
      description = "The same for a split model: the hash of each part, in order.";
    };
    sha256 = lib.mkOption {
      type = lib.types.nullOr own.hex;
      default = null;
      example = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
      description = "For a file that rbee downloads itself: its sha256, which is checked. The hub shows it beside the file.";
    };
  };

  model.options = making.options // {
    hub = lib.mkOption {
      type = lib.types.nullOr (lib.types.submodule hub);
      default = null;
      example = {
        repo = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
        file = "qwen2.5-0.5b-instruct-q4_k_m.gguf";
      };
      description = "A file on the model hub. With `hash` it is fetched into the store, else rbee downloads it on the host.";
    };
    path = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = "/srv/models/mine.gguf";
      description = ''
        A file instead, of a split model its first part: on the host where it is a text, else one that is copied to the
        store. rbee never moves or deletes it.
      '';
    };
    fetch = lib.mkOption {
      type = lib.types.bool;
      default = true;
      example = false;
      description = ''
        For a model of the hub without `hash`: have it on this host. The pool downloads it when it is missing; else the
        name is only known.
      '';
    };
    backend = lib.mkOption {
      type = lib.types.nullOr own.backend;
      default = null;
      example = "cuda";
      description = "What its workers compute with. null: whatever is there and free.";
    };
  };

  pinned = model: model.hub != null && (model.hub.hash != null || model.hub.hashes != [ ]);
  url = hub: file: "${cfg.hubUrl}/${hub.repo}/resolve/${hub.revision}/${file}";
  part = hub: file: hash: pkgs.fetchurl {
    # The name without the folders it has in the repository, and without what a store path may not have.
    name = builtins.replaceStrings [ "+" "=" "?" ] [ "-" "-" "-" ] (baseNameOf file);
    url = url hub file;
    inherit hash;
  };
  # "x-00001-of-00003.gguf" → [ "x-" "00003" ]; null where it is whole.
  split = file: builtins.match "(.*-)00001-of-([0-9]{5})\\.gguf" file;
  digits = n: lib.fixedWidthNumber 5 n;
  parts =
    hub:
    let
      found = split hub.file;
    in
    lib.imap1 (n: hash: {
      name = baseNameOf "${lib.head found}${digits n}-of-${lib.last found}.gguf";
      path = part hub "${lib.head found}${digits n}-of-${lib.last found}.gguf" hash;
    }) hub.hashes;
  stored =
    name: hub:
    if hub.hash != null then
      "${part hub hub.file hub.hash}"
    else
      "${pkgs.linkFarm "rbee-model-${name}" (parts hub)}/${baseNameOf hub.file}";

  source =
    name: model:
    if model.path != null then
      { path = "${model.path}"; }
    # A queen's or keeper's host need not hold the weights to know the name.
    else if pinned model && cfg.pool.enable then
      { path = stored name model.hub; }
    else
      {
        inherit (model.hub) repo file revision sha256;
        fetch = if cfg.pool.enable && model.fetch && !(pinned model) then true else null;
      };
  given = lib.filterAttrs (_: model: model.path == null -> model.hub != null) cfg.models;
  tables = lib.mapAttrs (name: model: lib.mapAttrs (_: lib.mkDefault) (
    lib.filterAttrs (_: value: value != null) (source name model // making.table model)
  )) given;

  ofOne =
    name: model:
    let
      option = "services.rbee.models.${name}";
      hub = if model.hub == null then { hash = null; hashes = [ ]; sha256 = null; file = ""; } else model.hub;
      found = split hub.file;
      ways =
        lib.optional (hub.hash != null) "hash"
        ++ lib.optional (hub.hashes != [ ]) "hashes"
        ++ lib.optional (hub.sha256 != null) "sha256";
      wanted = if found == null then "" else lib.last found;
    in
    making.assertions option model
    ++ [
      {
        assertion = own.isName name;
        message = "services.rbee.models: \"${name}\" is no name for a model. A name is [a-z0-9][a-z0-9._-]*, at most 63 characters.";
      }
      {
        assertion = (model.hub == null) != (model.path == null);
        message = "${option}: say where the model comes from, either by hub or by path, and not by both.";
      }
      {
        assertion = lib.length ways <= 1;
        message = "${option}.hub: ${lib.concatStringsSep " and " ways} are ways to pin the same file; keep one of them.";
      }
      {
        assertion = hub.hash != null -> found == null;
        message = "${option}.hub.file is the first of ${wanted} parts, so give the hash of each: ${option}.hub.hashes = [ … ];";
      }
      {
        assertion = hub.hashes != [ ] -> found != null && digits (lib.length hub.hashes) == wanted;
        message =
          "${option}.hub.hashes has ${toString (lib.length hub.hashes)}, and "
          + (if found == null then "the file is no first part of a split model; take hash." else "the model has ${wanted} parts.");
      }
    ];
in
{
  options.services.rbee = {
    models = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule model);
      default = { };
      example = lib.literalExpression ''
        {
          chat = {
            hub.repo = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
            hub.file = "qwen2.5-0.5b-instruct-q4_k_m.gguf";
            ctx = 8192;
            priority = 10;
          };
          mine.path = "/srv/models/mine.gguf";
        }
      '';
      description = "Models by a name of your own, beside those that rbee knows (`rbee-hive models catalog`).";
    };

    hubUrl = lib.mkOption {
      type = own.url;
      default = "https://huggingface.co";
      example = "https://hub.home.arpa";
      description = ''
        Where Nix fetches models that have a `hash`. What rbee downloads itself, it asks of HF_ENDPOINT:
        `systemd.services.rbee-pool.environment.HF_ENDPOINT`.
      '';
    };
  };

  config = lib.mkIf (cfg.queen.enable || cfg.pool.enable || cfg.keeper.enable) {
    services.rbee.settings.models = lib.mkIf (tables != { }) tables;
    assertions = lib.concatLists (lib.mapAttrsToList ofOne cfg.models);
  };
}
