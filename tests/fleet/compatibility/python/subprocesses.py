import os
import subprocess
import sys

done = subprocess.run(["tr", "a-z", "A-Z"], input="abc", capture_output=True, text=True, check=True)
assert done.stdout == "ABC"
first = subprocess.Popen(["printf", "b\\na\\n"], stdout=subprocess.PIPE)
second = subprocess.Popen(["sort"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close()
assert second.communicate()[0] == b"a\nb\n" and first.wait() == 0
assert subprocess.call([sys.executable, "-c", "raise SystemExit(7)"]) == 7
assert subprocess.check_output("echo $((6 * 7))", shell=True) == b"42\n"
try:
    subprocess.run(["sleep", "60"], timeout=0.05)
except subprocess.TimeoutExpired:
    pass
assert os.popen("echo x").read() == "x\n" and os.system("exit 2") == 512
print("works")
