"""The NixOS options that mend a host for good. One table, so that they are renamed in one place.

And what does the same for the kernel's command line elsewhere.
"""

POOL = "services.rbee.pool.enable = true;"
QUEEN = "services.rbee.queen.enable = true;"
POOL_QUEEN = 'services.rbee.pool.queen = "http://…:8080";'
POOL_URL = 'services.rbee.pool.url = "http://…:9200";'
POOL_LISTEN = 'services.rbee.pool.listen = "…";'
POOL_FIREWALL = "services.rbee.openFirewall = true;"
POOL_TOKEN = 'services.rbee.tokenFile = "/run/secrets/rbee-token";'  # noqa: S105  (where it is, not what)
MODELS = 'services.rbee.pool.modelsDir = "…";'
DECLARED_MODELS = "services.rbee.models.<name>.fetch = true;"
DECLARED_WORKERS = "services.rbee.workers.<name> = { backend = …; model = …; };"
PACKAGE = "services.rbee.package = pkgs.rbee;"
NVIDIA = 'services.xserver.videoDrivers = [ "nvidia" ];'
NTP = "services.timesyncd.enable = true;"
ZRAM = "zramSwap.enable = true;"
UNIFIED = 'boot.kernelParams = [ "systemd.unified_cgroup_hierarchy=1" ];'
BOOT = (
    "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub && update-grub"
    " && systemctl reboot"
)
