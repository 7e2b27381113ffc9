# llama.cpp and its binding, built lean, by the flags of tools/wheels.py: the engine is the same whoever installed rbee.
{
  lib,
  common,
  python3Packages,
  cmake,
  ninja,
  cudaSupport,
  cudaPackages,
  autoAddDriverRunpath,
}:
let
  inherit (python3Packages) buildPythonPackage;
  on = {
    GGML_RPC = "ON";
    GGML_NATIVE = "OFF";
    LLAVA_BUILD = "OFF";
    LLAMA_BUILD_TOOLS = "OFF";
    LLAMA_BUILD_SERVER = "OFF";
    LLAMA_BUILD_EXAMPLES = "OFF";
    LLAMA_BUILD_TESTS = "OFF";
    LLAMA_BUILD_APP = "OFF";
    LLAMA_CURL = "OFF";
    LLAMA_OPENSSL = "OFF";
    # The binding forces it on in CMake's cache; what a file sets that the project includes is stronger.
    "CMAKE_PROJECT_llama.cpp_INCLUDE" = "${./lean.cmake}";
  }
  // lib.optionalAttrs cudaSupport {
    GGML_CUDA = "ON";
    CMAKE_CUDA_ARCHITECTURES = cudaPackages.flags.cmakeCudaArchitecturesString;
    CMAKE_CUDA_COMPILER = lib.getExe cudaPackages.cuda_nvcc;
    CUDAToolkit_ROOT = "${lib.getDev cudaPackages.cuda_nvcc}";
  };
  build =
    if cudaSupport then buildPythonPackage.override { stdenv = cudaPackages.backendStdenv; } else buildPythonPackage;
in
build (
  common
  // {
    pyproject = true;
    build-system = [
      python3Packages.pathspec
      python3Packages.pyproject-metadata
      python3Packages.scikit-build-core
    ];
    nativeBuildInputs = [
      cmake
      ninja
    ]
    ++ lib.optionals cudaSupport [
      cudaPackages.cuda_nvcc
      autoAddDriverRunpath
    ];
    buildInputs = lib.optionals cudaSupport [
      cudaPackages.cuda_cudart
      (cudaPackages.cccl or cudaPackages.cuda_cccl)
      cudaPackages.libcublas
    ];
    dontUseCmakeConfigure = true;
    env.CMAKE_ARGS = lib.concatStringsSep " " (lib.mapAttrsToList (name: value: "-D${name}=${value}") on);
    preBuild = "export CMAKE_BUILD_PARALLEL_LEVEL=$NIX_BUILD_CORES";
    # CUDA's loads the driver's libcuda.so.1, which no build has.
    pythonImportsCheck = lib.optionals (!cudaSupport) [ "llama_cpp" ];
  }
)
