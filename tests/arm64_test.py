"""Cross-builds hone for 64-bit ARM and runs it under qemu-user: kernels of every variant of NEON against the
reference, detection of what a processor has, and with --whole all of hone: golden logits and a story.

usage: arm64_test.py SOURCE BUILD [--whole]     HONE_ARM64_ROOT: filled by scripts/setup --arm64
"""
import os
import shutil
import subprocess
import sys
import time

# What qemu imitates, and the kernels that hone must choose there.
CPUS = {"cortex-a72": "neon", "cortex-a76": "neon-dot", "neoverse-n1": "neon-dot", "max": "neon-i8mm"}
# Exactness of kernels; timings of an emulator mean nothing, and long matrices of the scalar set tell nothing new.
KERNEL_TESTS = "-Peak.*:Matmul.EveryFormatEveryRegimeEveryThreadCount"


def run(*command, **options):
    start = time.time()
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True, **options)
    if done.returncode:
        print(" ".join(map(str, command)))
        sys.exit(done.stdout[-6000:] + done.stderr[-6000:])
    print(f"{time.time() - start:6.1f} s  {' '.join(map(str, command))[-110:]}", flush=True)
    return done.stdout


def main():
    source, build, whole = sys.argv[1], sys.argv[2], "--whole" in sys.argv[3:]
    root = os.environ.get("HONE_ARM64_ROOT", "")
    if not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64") and os.path.isdir(root + "/usr")):
        print("skipped: no cross compiler, qemu-user or HONE_ARM64_ROOT; scripts/setup --arm64 installs them")
        sys.exit(77)

    def emulated(program, *arguments, cpu="max", **environment):
        return run("qemu-aarch64", "-cpu", cpu, "-L", root, f"{build}/{program}", *arguments,
                   env={**os.environ, **environment})

    run("cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_TOOLCHAIN_FILE={source}/cmake/aarch64-toolchain.cmake", f"-DHONE_ARM64_ROOT={root}")
    targets = ["base_test", "kernels_test"]
    if whole:
        targets += ["tensor_test", "exec_test", "golden_test", "engine_test", "hone"]
    run("cmake", "--build", build, "--target", *targets)

    for cpu, expected in CPUS.items():
        chosen = emulated("base_test", "--gtest_filter=Cpu.*", cpu=cpu)
        assert f"active instruction set: {expected}\n" in chosen, (cpu, chosen)
    for isa in ("neon-dot", "neon-i8mm"):
        forced = subprocess.run(["qemu-aarch64", "-cpu", "cortex-a72", "-L", root, f"{build}/base_test",
                                 "--gtest_filter=Cpu.*"], env={**os.environ, "HONE_ISA": isa}, capture_output=True,
                                text=True)
        assert forced.returncode and "does not support it" in forced.stdout, forced.stdout
    emulated("kernels_test", "--gtest_brief=1", f"--gtest_filter={KERNEL_TESTS}")
    if not whole:
        return
    emulated("tensor_test", "--gtest_brief=1")
    emulated("exec_test", "--gtest_brief=1")
    stories = f"{source}/../shared/data/stories260K/hf"
    texts = {}
    for isa in ("neon", "neon-dot", "neon-i8mm"):
        emulated("golden_test", "--gtest_brief=1", HONE_ISA=isa)
        if os.path.exists(stories):
            texts[isa] = emulated("hone", "run", stories, "Once upon a time", "--raw", "-n", "24", "--temperature", "0", "-q",
                                  HONE_ISA=isa)
    print(texts)
    assert len(set(texts.values())) <= 1, texts


main()
