"""The users of every peer: user 7 has the secret `secret-0007-…`, which the origin knows by its number."""

import hashlib
import string

USERS = 50
LETTERS = string.ascii_letters + string.digits


def secret(user):
    """A secret as long as real ones are."""
    return f"secret-{user:04}-{hashlib.sha256(str(user).encode()).hexdigest()[:32]}"


def key(user):
    """For peers that know no keys of their own: one of the same length and look as Cloakroom's."""
    digest = hashlib.sha512(f"key {user}".encode()).digest()
    return "clk_" + "".join(LETTERS[byte % len(LETTERS)] for byte in digest[:36])


def keys_file(folder, of=key, count=USERS):
    """A line for each user, in their order: what the load generator reads."""
    file = folder / f"{of.__name__}s.txt"
    file.write_text("".join(f"{of(user)}\n" for user in range(count)))
    return file
