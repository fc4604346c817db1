"""A platform that leaves its evaluations to the queue service, and a worker that runs them: both hold
on to what they were written against, and know nothing of who serves it.

QUEUE_SERVICE_URL, and the keys QUEUE_API_KEY of the platform and API_KEY of the worker. Prints what the
platform was told, as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys

import httpx


class QueueClient:
    def __init__(self):
        self.client = httpx.AsyncClient(
            base_url=os.environ["QUEUE_SERVICE_URL"],
            headers={"X-API-Key": os.environ["QUEUE_API_KEY"]},
            timeout=30.0,
        )

    async def enqueue_task(self, eval_id, code, engine="docker"):
        task = {"eval_id": eval_id, "code": code, "engine": engine, "priority": 1}
        response = await self.client.post("/tasks", json=task)
        response.raise_for_status()
        return response.json()

    async def get_queue_status(self):
        response = await self.client.get("/status")
        response.raise_for_status()
        return response.json()

    async def get_task_status(self, eval_id):
        response = await self.client.get(f"/tasks/{eval_id}")
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return response.json()


class Engine:
    def execute(self, code, eval_id):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return {"eval_id": eval_id, "stdout": done.stdout}


class Worker:
    def __init__(self):
        self.queue_url = os.environ["QUEUE_SERVICE_URL"]
        self.client = httpx.AsyncClient(headers={"X-API-Key": os.environ["API_KEY"]}, timeout=30.0)
        self.engines = {"docker": Engine(), "gvisor": Engine()}
        self.faults = []

    async def process_task(self, task):
        eval_id = task["eval_id"]
        engine = self.engines.get(task.get("engine", "docker"), self.engines["docker"])
        try:
            output = engine.execute(task["code"], eval_id)
            path, told = "complete", {"output": output}
        except Exception as error:
            path, told = "fail", {"error": str(error)}
        response = await self.client.post(f"{self.queue_url}/tasks/{eval_id}/{path}", json=told)
        if response.is_error:
            self.faults.append(response.text)

    async def run(self, until_idle=3):
        idle = 0
        while idle < until_idle:
            response = await self.client.get(f"{self.queue_url}/tasks/next")
            if response.status_code != 200:
                self.faults.append(response.text)
                return
            task = response.json()
            if task:
                idle = 0
                await self.process_task(task)
            else:
                idle += 1
                await asyncio.sleep(0.2)


async def main():
    platform, worker = QueueClient(), Worker()
    queued = [
        await platform.enqueue_task("right", "print(6 * 7)"),
        await platform.enqueue_task("other", "print('sealed')", engine="gvisor"),
        await platform.enqueue_task("wrong", "raise SystemExit(3)"),
    ]
    before = await platform.get_queue_status()
    waiting = await platform.get_task_status("right")
    await worker.run()
    names = ["right", "other", "wrong", "unknown"]
    told = {name: await platform.get_task_status(name) for name in names}
    after = await platform.get_queue_status()
    report = {"queued": queued, "before": before, "waiting": waiting, "told": told, "after": after}
    print(json.dumps({**report, "faults": worker.faults}))


asyncio.run(main())
