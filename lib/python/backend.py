"""Builds the wheel for `pip install .`: see pyproject.toml. It needs a C compiler, and no package.

The extension has the library's sources in it, so that the wheel needs no other file. The lists of
sources are those of the Makemodule.am files, the version is that of configure.ac.

Environment: CC, CFLAGS, LDFLAGS.
"""

import base64
import concurrent.futures
import hashlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = "-std=gnu11 -O2 -fPIC -fvisibility=hidden -pthread -D_GNU_SOURCE= -D_FILE_OFFSET_BITS=64"
# A thread's destructors and the kernel's robust lists lead into the library for ever: nodelete.
LINK_FLAGS = "-shared -pthread -Wl,-z,nodelete -Wl,--version-script={script}"
SCRIPT = "{ global: PyInit__shmkit; local: *; };\n"


def _list_of(makefile, variable):
    """The files of a list in a makefile."""
    text = (ROOT / makefile).read_text()
    found = re.search(rf"^{variable} = \\\n((?:.*\\\n)*.*\n)", text, re.MULTILINE)
    return found.group(1).replace("\\\n", " ").split()


def _version():
    return re.search(r"AC_INIT\(\[shmkit\], \[(.*?)\]\)", (ROOT / "configure.ac").read_text())[1]


def _check_python():
    if sys.version_info < (3, 11):
        sys.exit("shmkit: Python 3.11 or later is needed, this is %d.%d" % sys.version_info[:2])
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        sys.exit("shmkit: a free-threaded Python does not have the stable ABI")
    include = pathlib.Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        sys.exit(f"shmkit: there is no {include}/Python.h (Debian package: python3-dev)")
    return include


def _run(command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.write(done.stdout.decode(errors="replace"))
    if done.returncode != 0:
        sys.exit("shmkit: this failed: " + shlex.join(map(str, command)))


def _has_function(compiler, name, directory):
    source, program = directory / "check.c", directory / "check"
    source.write_text(f"char {name}(void);\nint main(void)\n{{\n    return {name}();\n}}\n")
    command = compiler + ["-w", "-fno-builtin", str(source), "-pthread", "-o", str(program)]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def _found(compiler, directory):
    """What configure would have found of the functions that the library asks for."""
    lists = re.findall(r"^AC_CHECK_FUNCS\(\[(.*?)\]\)", (ROOT / "configure.ac").read_text(), re.M)
    names = " ".join(lists).split()
    found = [name for name in names if _has_function(compiler, name, directory)]
    return [f"-DHAVE_{name.upper()}=1" for name in found]


def _compile(directory):
    """The extension, which is built in that directory."""
    include = _check_python()
    compiler = shlex.split(os.environ.get("CC") or "cc")
    flags = shlex.split(FLAGS) + ["-Ilib", "-isystem", str(include)]
    flags += _found(compiler, directory) + shlex.split(os.environ.get("CFLAGS", ""))
    files = _list_of("lib/Makemodule.am", "library_sources")
    files += _list_of("lib/python/Makemodule.am", "python_sources")
    sources = [file for file in files if file.endswith(".c")]
    objects = [str(directory / (file.replace("/", "-")[:-2] + ".o")) for file in sources]
    script = directory / "exports"
    script.write_text(SCRIPT)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        commands = [compiler + flags + ["-c", s, "-o", o] for s, o in zip(sources, objects)]
        list(pool.map(_run, commands))
    extension = directory / "_shmkit.abi3.so"
    link_flags = shlex.split(LINK_FLAGS.format(script=shlex.quote(str(script))))
    link_flags += shlex.split(os.environ.get("LDFLAGS", ""))
    _run(compiler + link_flags + objects + ["-lm", "-o", str(extension)])
    return extension


def _metadata():
    summary = re.search(r'^description = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    return (
        "Metadata-Version: 2.1\n"
        "Name: shmkit\n"
        f"Version: {_version()}\n"
        f"Summary: {summary}\n"
        "Requires-Python: >=3.11\n"
        "Classifier: Operating System :: POSIX :: Linux\n"
        "Classifier: Programming Language :: Python :: Implementation :: CPython\n"
    )


def _tag():
    return "cp311-abi3-" + re.sub(r"[-.]", "_", sysconfig.get_platform())


def _wheel_file():
    return f"Wheel-Version: 1.0\nGenerator: shmkit\nRoot-Is-Purelib: false\nTag: {_tag()}\n"


def _write(wheel, records, name, data):
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    wheel.writestr(info, data)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    records.append(f"{name},sha256={digest},{len(data)}\n")


# ---- What pip calls: PEP 517 ----


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    name = f"shmkit-{_version()}.dist-info"
    folder = pathlib.Path(metadata_directory, name)
    folder.mkdir()
    (folder / "METADATA").write_text(_metadata())
    (folder / "WHEEL").write_text(_wheel_file())
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = f"shmkit-{_version()}-{_tag()}.whl"
    info = f"shmkit-{_version()}.dist-info"
    records = []
    with tempfile.TemporaryDirectory() as directory:
        extension = _compile(pathlib.Path(directory)).read_bytes()
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        for file in _list_of("lib/python/Makemodule.am", "python_package"):
            data = (ROOT / file).read_bytes()
            _write(wheel, records, "shmkit/" + os.path.basename(file), data)
        _write(wheel, records, "shmkit/_shmkit.abi3.so", extension)
        _write(wheel, records, f"{info}/METADATA", _metadata().encode())
        _write(wheel, records, f"{info}/WHEEL", _wheel_file().encode())
        _write(wheel, records, f"{info}/LICENSE", (ROOT / "LICENSE").read_bytes())
        records.append(f"{info}/RECORD,,\n")
        _write(wheel, [], f"{info}/RECORD", "".join(records).encode())
    return name
