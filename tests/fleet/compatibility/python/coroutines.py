import asyncio
import sys


async def main():
    assert await asyncio.gather(*(asyncio.sleep(0.001, n) for n in range(5))) == [0, 1, 2, 3, 4]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print(input()[::-1])",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate(b"abc\n")
    assert (output, child.returncode) == (b"cba\n", 0)
    shell = await asyncio.create_subprocess_shell("exit 3")
    assert await shell.wait() == 3
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.01)
    except asyncio.TimeoutError:
        pass
    assert await asyncio.get_running_loop().run_in_executor(None, len, "abc") == 3


asyncio.run(main())
print("works")
