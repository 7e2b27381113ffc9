# What queen and pool have in common: options of where one listens, and what systemd is told of that.
{ lib }:
let
  own = import ./types.nix { inherit lib; };
  places = import ./places.nix { inherit lib; };
in
{
  # name: as in messages and URLs of examples.
  options =
    {
      name,
      port,
      host,
      reachedAt,
    }:
    {
      listen = lib.mkOption {
        type = own.address;
        default = "127.0.0.1";
        example = "0.0.0.0";
        description = "The address at which the ${name} listens. 0.0.0.0 or :: is every one this host has.";
      };
      port = lib.mkOption {
        type = lib.types.port;
        default = port;
        description = "The port at which the ${name} listens.";
        example = port + 1;
      };
      url = lib.mkOption {
        type = lib.types.nullOr own.url;
        default = null;
        example = reachedAt;
        description = ''
          How other hosts reach the ${name}. With a certificate it is https:// and a name in that. null: at the address
          where it listens.
        '';
      };
      tls.certFile = lib.mkOption {
        type = lib.types.nullOr lib.types.path;
        default = null;
        example = "/var/lib/acme/${host}.home.arpa/fullchain.pem";
        description = ''
          The certificate and its chain, a PEM file, with which the ${name} serves https. systemd reads it at the start
          of the service: a new one is taken over by `systemctl restart`, which refuses no connection.
        '';
      };
      tls.keyFile = lib.mkOption {
        type = lib.types.nullOr own.secret;
        default = null;
        example = "/var/lib/acme/${host}.home.arpa/key.pem";
        description = "The certificate's key, a PEM file that only root may read.";
      };
    };

  # unit: "rbee-queen"; option: "services.rbee.queen".
  config =
    {
      unit,
      option,
      part,
      configFile,
      tokenFile,
      settings,
      openFirewall,
      systemd,
    }:
    {
      systemd.sockets.${unit} = {
        wantedBy = [ "sockets.target" ];
        listenStreams = [
          ""
          (places.socket part)
        ];
        # An address of its own may come up later than the socket.
        socketConfig = lib.mkIf (!(places.isEvery part.listen || places.isLoopback part.listen)) { FreeBind = true; };
      };
      systemd.services.${unit} = {
        wantedBy = [ "multi-user.target" ];
        # One restart, when all else of the new system is in place, and the socket stays: nobody is refused. To stop first
        # would close the socket as well.
        stopIfChanged = false;
        reloadTriggers = [ configFile ] ++ lib.optional (tokenFile != null) tokenFile;
        # Another path is taken over by a reload. Where the token is rbee's own from now on the link is gone, and only a
        # start makes a file in its place.
        restartTriggers = [ (if tokenFile == null then "own token" else "given token") ];
        serviceConfig.LoadCredential =
          lib.optional (part.tls.certFile != null) "tls.crt:${part.tls.certFile}"
          ++ lib.optional (part.tls.keyFile != null) "tls.key:${part.tls.keyFile}";
      };
      # A switch leaves open sockets alone, also when their address has changed. This does nothing at a boot, and restarts
      # the socket, and with it the daemon, when a switch reloads it for another address.
      systemd.services."${unit}-address" = {
        description = "rbee: ${unit} listens where it is now to listen";
        wantedBy = [ "multi-user.target" ];
        reloadTriggers = [ (places.socket part) ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = lib.getExe' systemd "systemctl" + " --version";
          ExecReload = lib.getExe' systemd "systemctl" + " try-restart ${unit}.socket";
        };
      };
      networking.firewall.allowedTCPPorts = lib.optional (openFirewall && !(places.isLoopback part.listen)) part.port;
      assertions = [
        {
          # Its socket is systemd's, and stays where the options have it.
          assertion = settings.bind == places.socket part;
          message = ''
            rbee.toml would say bind = "${toString settings.bind}", and the socket listens at ${places.socket part}. Take bind
            out of the settings, and say where it is to listen: ${option}.listen and ${option}.port.
          '';
        }
        {
          assertion = (part.tls.certFile == null) == (part.tls.keyFile == null);
          message = "${option}.tls: certFile and keyFile go together, and one of them is missing.";
        }
        {
          assertion = part.tls.certFile != null && part.tls.keyFile != null -> part.url != null && lib.hasPrefix "https://" part.url;
          message = ''
            ${option}.url: with a certificate others have to know the name in it, so give the URL:
            ${option}.url = "https://${unit}.home.arpa:${toString part.port}";
          '';
        }
      ];
    };
}
