import os
import subprocess

with open("script", "w") as script:
    script.write("#!/bin/sh\necho ran $1\n")
os.chmod("script", 0o755)
assert subprocess.check_output(["./script", "it"]) == b"ran it\n"
os.chmod("script", 0o600)
assert not os.access("script", os.X_OK)
print("works")
