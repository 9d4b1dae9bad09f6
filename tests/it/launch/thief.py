# Tries to get at what is not its own. Says of each attempt what came of it.
import ctypes, json, os, signal, socket, subprocess, sys

room = json.loads(os.environ["ROOM"])
said = {}

def attempt(name, steal):
    try:
        said[name] = "GOT " + repr(steal())[:80]
    except OSError as error:
        said[name] = os.strerror(error.errno)
    except ValueError as error:
        said[name] = str(error)

def read(path):
    with open(path, "rb") as file:
        return file.read(64)

def cat(path):
    done = subprocess.run(["cat", path], capture_output=True)
    if done.returncode:
        raise PermissionError(13, "")
    return done.stdout

def write(path, flags=os.O_WRONLY):
    os.close(os.open(path, flags, 0o600))
    return "opened to write"

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

def call(function, *arguments):
    ctypes.set_errno(0)
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "done"

class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

def memory(pid, address):
    into = ctypes.create_string_buffer(8)
    ours, theirs = Piece(ctypes.addressof(into), 8), Piece(address, 8)
    return call(libc.process_vm_readv, pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)

# Files and folders of others, by every name they have.
for path in room["files"]:
    attempt("read " + path, lambda: read(path))
    attempt("write " + path, lambda: write(path))
    attempt("truncate " + path, lambda: os.truncate(path, os.stat(path).st_size))
    attempt("remove " + path, lambda: os.rename(path, "stolen") or os.rename("stolen", path))
    attempt("hard link " + path, lambda: os.link(path, "hard") or os.remove("hard"))
    os.symlink(path, "soft")
    attempt("through a link " + path, lambda: read("soft"))
    os.remove("soft")
    attempt("by a child " + path, lambda: cat(path))
for path in room["folders"]:
    attempt("list " + path, lambda: os.listdir(path))
    attempt("put into " + path, lambda: write(path + "/thief", os.O_WRONLY | os.O_CREAT) and os.remove(path + "/thief"))
for path in room["programs"]:
    attempt("change " + path, lambda: write(path))

# Processes.
for name, pid in room["processes"].items():
    for what in ["environ", "mem", "maps", "cmdline", "status", "stat", "auxv", "limits", "cgroup", "mountinfo",
                 "root" + room["files"][0], "cwd/own", "net/unix"]:
        attempt(f"{what} of {name}", lambda: read(f"/proc/{pid}/{what}"))
    for what in ["fd", "task", "map_files", "root", ""]:
        attempt(f"list {what} of {name}", lambda: os.listdir(f"/proc/{pid}/{what}"))
    for what in ["exe", "cwd", "fd/0", "ns/net"]:
        attempt(f"link {what} of {name}", lambda: os.readlink(f"/proc/{pid}/{what}"))
    attempt(f"trace {name}", lambda: call(libc.ptrace, 0x4206, pid, None, None))
    attempt(f"memory of {name}", lambda: memory(pid, room["address"]))
    attempt(f"descriptor of {name}", lambda: call(libc.syscall, 438, os.pidfd_open(pid), 0, 0))
    attempt(f"find {name}", lambda: os.kill(pid, 0) or "it is there")
    if room["deadly"] and name != "proxy":
        for number in [signal.SIGKILL, signal.SIGSTOP]:
            attempt(f"signal {number} to {name}", lambda: os.kill(pid, number) or "sent")
attempt("list /proc", lambda: os.listdir("/proc"))

# What root could do otherwise.
attempt("become root", lambda: os.setuid(0) if os.getuid() else os.chroot("/usr"))
attempt("device", lambda: os.mknod("disk", 0o60600, os.makedev(259, 0)))
attempt("mount", lambda: call(libc.mount, b"/proc", os.getcwd().encode(), None, 4096, None))
attempt("raise a limit", lambda: __import__("resource").setrlimit(7, (1 << 20, 1 << 20)))

def abstract():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + room["abstract"])
        return connection.recv(16)

attempt("abstract socket", abstract)
print(json.dumps(said))
