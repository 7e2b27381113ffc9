# The configurations of a house, as far as a deploy looks at them. There is no NixOS in it: a system is its
# switch-to-configuration, which does what the file of its host's name says.
{
  outputs =
    { self }:
    let
      system = name: {
        config = {
          services.rbee.pool.enable = true;
          system.build.toplevel = derivation {
            name = "nixos-system-${name}";
            system = "x86_64-linux";
            builder = "/bin/sh";
            PATH = "/usr/bin:/bin";
            effect = ./. + "/${name}";
            switch = ./switch-to-configuration;
            kernel = "/boot/${builtins.readFile ./kernel}";
            args = [
              "-c"
              ''
                mkdir -p $out/bin
                cp $effect $out/effect
                cp $switch $out/bin/switch-to-configuration
                for part in kernel initrd kernel-modules; do ln -s $kernel/$part $out/$part; done
              ''
            ];
          };
        };
      };
    in
    {
      nixosConfigurations = {
        mac = system "mac";
        workstation = system "workstation";
        one = system "mac";
        blep.config.services.rbee.pool.enable = false;
        bare.config.services = { };
        broken.config.services.rbee.pool.enable = throw "Failed assertions: the ports are equal";
      };
    };
}
