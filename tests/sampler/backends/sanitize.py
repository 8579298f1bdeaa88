"""Replays recorded calls under sanitizers: `make sanitize`.

The core is compiled anew, for every instruction set, with the flags that decide what it computes:
once under ThreadSanitizer, once under AddressSanitizer with UndefinedBehaviorSanitizer. Replaying
then has to end without a report, with the library's own bits on this machine's instruction sets.
"""

import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import torch

from spatial_transformers.sampler import backends

from .recording import record

CSRC = Path(backends.__file__).parent / "cpu" / "csrc"
DRIVER = Path(__file__).with_name("driver.cpp")
SANITIZERS = ("thread", "address,undefined")
PASSES = ("wide", "backward", "forward", "filter", "antialias")
DTYPES = (torch.float32, torch.float16)  # that of most calls, and one that is widened


def flags() -> dict[str, list[str]]:
    """Return the compiler's flags per instruction set, as `instruction_sets.cmake` sets them."""
    text = (CSRC / "instruction_sets.cmake").read_text()
    lists = dict(re.findall(r"set\((arithmetic|avx2|avx512) ([^)]*)\)", text))
    avx2 = lists["avx2"].replace("${vectors}", "").split()
    wider = {"avx2": avx2, "avx512": lists["avx512"].replace("${avx2}", " ".join(avx2)).split()}
    # fewer optimisations: they change no bit, and sanitizers make them slow to compile
    common = [*lists["arithmetic"].split(), "-Wno-psabi", "-std=c++17", "-g1"]
    names = ("baseline", *(wider if platform.machine() in ("x86_64", "AMD64") else ("narrow",)))
    return {name: [*common, *wider.get(name, []), "-O1"] for name in names}  # the last one counts


def build(folder: Path, sanitizer: str) -> Path:
    """Compile driver and core under a sanitizer; return the program."""
    shared = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=undefined", f"-I{CSRC}"]
    objects, given, commands = [], flags(), []
    for name, which, real in product(given, PASSES, ("float", "double")):
        offset = "int64_t" if name == "baseline" else "int32_t"
        defined = [f"-DSTN_ISA=stn_{name}", f"-DSTN_INDEX={offset}", f"-DSTN_REAL={real}"]
        objects.append(folder / f"{name}-{which}-{real}.o")
        output = ["-c", CSRC / f"{which}.cpp", "-o", objects[-1]]
        commands.append([*given[name], *shared, *defined, *output])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, commands))
    defined = ["-DSTN_X86"] if "avx2" in given else []
    sources = [DRIVER, *(CSRC / f"{name}.cpp" for name in ("run", "choose", "stretch")), *objects]
    program = folder / "driver"
    compile_one([*given["baseline"], *shared, *defined, *sources, "-pthread", "-o", program])
    return program


def compile_one(arguments: list) -> None:
    """Run the compiler."""
    subprocess.run(["g++", *arguments], check=True)


def main() -> int:
    """Record, build and replay; return the number of sanitizers that found something."""
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    record(root / "calls.bin", DTYPES)
    found = 0
    for sanitizer in SANITIZERS:
        folder = root / sanitizer.replace(",", "-")
        folder.mkdir(exist_ok=True)
        print(f"{sanitizer}: compiling", flush=True)
        program = build(folder, sanitizer)
        found += subprocess.run([program, root / "calls.bin"]).returncode != 0
    return found


if __name__ == "__main__":
    sys.exit(main())
