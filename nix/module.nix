# services.rbee: the index. Each file declares the options of one thing, and says what they decide.
#
# The units themselves are units/system of the package: what is true on every host is said there, once. What is here
# becomes drop-ins beside them, so a list begins with an empty string where it has to replace theirs.
{
  imports = [
    ./module/common.nix
    ./module/settings.nix
    ./module/queen.nix
    ./module/pool.nix
    ./module/gpus.nix
    ./module/models.nix
    ./module/workers.nix
    ./module/keeper.nix
  ];
}
