"""What lies in the token directory of SoftHSM 2, for who has the PIN: its private keys. Only so can a test look for them in memory."""
import hashlib
import os
import struct

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CLASS, LABEL, VALUE, PRIVATE_KEY = 0x0, 0x3, 0x11, 3
USER_PIN = 0x80000000 + 0x5348 + 5  # the key of all private attributes, under the PIN
BOOLEAN, NUMBER, OCTETS = 1, 2, 3


def attributes(path):
    """type -> value, of an object's file: numbers of 8 octets, a kind for each value."""
    with open(path, "rb") as f:
        data = f.read()
    at, found = 8, {}  # behind the number of its generation
    while at < len(data):
        name, kind = struct.unpack_from(">QQ", data, at)
        at += 16
        if kind == BOOLEAN:
            found[name], at = data[at], at + 1
        elif kind == NUMBER:
            found[name], at = struct.unpack_from(">Q", data, at)[0], at + 8
        else:
            length = struct.unpack_from(">Q", data, at)[0]
            found[name] = data[at + 8:at + 8 + length]
            at += 8 + length * (1 if kind == OCTETS else 8)
    return found


def decrypt(key, iv, data):
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    plain, unpad = cipher.update(data) + cipher.finalize(), padding.PKCS7(128).unpadder()
    return unpad.update(plain) + unpad.finalize()


def token_key(wrapped, pin):
    salt, iv, data = wrapped[:8], wrapped[8:24], wrapped[24:]
    key = hashlib.sha256(salt + pin).digest()
    for _ in range(1500 + salt[-1] - 1):
        key = hashlib.sha256(key).digest()
    plain = decrypt(key, iv, data)
    assert plain[:3] == b"RJR", "another PIN"
    return plain[3:]


def private_values(tokens, pin):
    """label -> CKA_VALUE of the private keys on the tokens that this PIN opens."""
    found = {}
    for directory, _, names in os.walk(tokens):
        if "token.object" not in names:
            continue
        wrapped = attributes(os.path.join(directory, "token.object")).get(USER_PIN)
        try:
            key = token_key(wrapped, pin)
        except (AssertionError, ValueError):
            continue
        for name in names:
            values = attributes(os.path.join(directory, name)) if name.endswith(".object") and name != "token.object" else {}
            if values.get(CLASS) == PRIVATE_KEY:
                plain = [decrypt(key, values[what][:16], values[what][16:]) for what in (LABEL, VALUE)]
                found[plain[0].decode()] = plain[1]
    return found
