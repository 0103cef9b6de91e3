"""The tutorial's programs, each actor a process of its own, do what the tutorial says."""
import contextlib
import difflib
import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import shmkit
from common import TestCase, state, until

SOURCE = pathlib.Path(__file__).parents[2] / "demos" / "python"
DEPOSITORS = "存款者甲", "存款者乙", "存款者丙"


def asleep(segment, how_many):
    """Whether so many members wait for something."""
    said = subprocess.run(
        ["shmctl", "ps", "--raw", "--noheadings", "-o", "WAITS", segment],
        capture_output=True,
        text=True,
    ).stdout
    return len([line for line in said.splitlines() if line.strip(" -")]) == how_many


class Demo(TestCase):
    def setUp(self):
        super().setUp()
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.programs = pathlib.Path(work.name)
        self.output = self.programs / "output"
        # The programs, with names of this test.
        for program in SOURCE.glob("*.py"):
            text = program.read_text(encoding="utf-8")
            text = re.sub('"(account|tutorial)/', f'"{self.segment}/', text)
            (self.programs / program.name).write_text(text, encoding="utf-8")
        self.started = []
        self.addCleanup(self.kill)

    def run_actor(self, program, *arguments):
        with open(self.output, "ab") as file:
            process = subprocess.Popen(
                [sys.executable, self.programs / program, *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                # into a file, what is printed would wait in a buffer while the program waits
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def kill(self):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def lines(self):
        return self.output.read_text(encoding="utf-8").splitlines()

    def has(self, condition):
        return until(lambda: condition(self.lines()), 60)


class Account(Demo):
    def check(self, lines):
        """Deposits and draws strictly in turn, and the balance after each."""
        self.assertEqual([line for line in lines if "Traceback" in line], [])
        for n, line in enumerate(lines):
            expected = (
                r"存款者[甲乙丙] 存款:800",
                r"账户余额为：800",
                r"取钱者 取钱:800",
                r"账户余额为：0",
            )[n % 4]
            self.assertRegex(line, f"^{expected}$", f"line {n + 1}")

    def test_all_actors_by_the_condition(self):
        self.run_actor("account.py")
        # The drawer tries a hundred times; each wait is one of them, as in the tutorial.
        self.has(lambda lines: len(lines) >= 40)
        self.check(self.lines()[:40])

    def test_an_actor_is_killed_asleep_and_the_others_go_on(self):
        team = [self.run_actor("account.py", name) for name in DEPOSITORS]
        until(lambda: asleep(self.segment, 3), 60)
        for victim in team[:2]:
            victim.kill()
            victim.wait()
        self.run_actor("account.py", "取钱者")
        self.has(lambda lines: len(lines) >= 8)
        self.check(self.lines()[:8])

    def test_all_actors_by_the_event(self):
        self.run_actor("account_event.py")
        self.has(lambda lines: len(lines) >= 4)
        self.check(self.lines()[:4])


class Queues(Demo):
    def test_the_third_put_waits(self):
        program = self.run_actor("queue_two.py")
        self.has(lambda lines: lines == ["1111111111"])
        until(lambda: asleep(self.segment, 1), 60)
        self.assertEqual(shmkit.Queue(f"{self.segment}/two", create=False).get(), "Python")
        self.assertEqual(program.wait(30), 0)
        self.assertEqual(self.lines(), ["1111111111", "2222222222"])

    def test_three_producers_and_a_consumer(self):
        self.run_actor("queue_one.py")
        self.has(lambda lines: len([line for line in lines if "消费者消费[" in line]) >= 6)
        for line in self.lines():
            self.assertRegex(
                line,
                "^Process-[1-4](生产者(准备生产元组元素|生产元组元素完成)！|消费者准备消费元组元素！"
                r"|消费者消费\[ (Python|Kotlin|Swift) \]元素完成！)$",
            )


class Event(Demo):
    def test_two_wait_until_the_main_one_sets_it(self):
        program = self.run_actor("event.py")
        self.assertEqual(program.wait(60), 0)
        lines = self.lines()
        # On a busy machine an actor may begin after the two seconds that the program gives it.
        sets = lines.index("------------------") + 1
        self.assertEqual(lines[sets], "主线程发出事件")
        for name, x in ("Process-1", "甲"), ("Process-2", "乙"):
            said = f"{name} 启动", f"{x} 准备开始计算状态", f"{name} 收到通知了.", f"{x} 正式开始计算！"
            at = [lines.index(line) for line in said]
            self.assertEqual(at, sorted(at))
            self.assertGreater(at[2], sets)
        self.assertEqual(len(lines), 10)


HAS_PLOT = importlib.util.find_spec("matplotlib") and importlib.util.find_spec("numpy")


@unittest.skipUnless(HAS_PLOT, "matplotlib is not there (Debian package: python3-matplotlib)")
class Plot(Demo):
    # Without a screen a window cannot be shown: a pause writes the picture, and the fifth one ends.
    FEW = """
import runpy, sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
pauses = []
def pause(seconds):
    pauses.append(seconds)
    plt.savefig(picture)
    if len(pauses) == 5:
        sys.exit()
plt.pause = pause
program, picture = sys.argv[1:]
sys.argv[1:] = ["Process-1"]
sys.path.insert(0, program.rpartition("/")[0])
runpy.run_path(program, run_name="__main__")
"""

    def plots(self):
        picture = self.output.with_suffix(".png")
        done = subprocess.run(
            [sys.executable, "-c", self.FEW, self.programs / "plot.py", picture],
            capture_output=True,
            text=True,
            timeout=90,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_the_tutorials_own_samples(self):
        self.run_actor("plot.py", "Main")
        self.plots()

    def test_those_of_the_sampler_in_c(self):
        sampler = subprocess.Popen(
            [os.environ["SHMKIT_DEMOS"] + "/sampler", f"{self.segment}/signal", "--eeg"],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.started.append(sampler)
        self.plots()


class Readme(Demo):
    def block(self, kind):
        readme = (SOURCE.parents[1] / "README.md").read_text(encoding="utf-8")
        return readme.partition(f"```{kind}\n")[2].partition("```\n")[0]

    def test_its_program_runs(self):
        program = self.programs / "words.py"
        program.write_text(self.block("python").replace("bank/", f"{self.segment}/"))
        consumer = self.run_actor("words.py")
        self.run_actor("words.py", "Python", "Kotlin", "存款者甲").wait(30)
        self.has(lambda lines: lines == ["Python", "Kotlin", "存款者甲"])
        self.assertIsNone(consumer.poll())

    def test_it_has_all_differences(self):
        found = []
        for original in sorted((SOURCE / "tutorial").glob("*.py")):
            here = SOURCE / original.name
            texts = [file.read_text(encoding="utf-8").splitlines() for file in (original, here)]
            names = f"tutorial/{original.name}", original.name
            found += difflib.unified_diff(*texts, *names, n=0, lineterm="")
        found = [line.rstrip() for line in found if not line.startswith("@@")]
        self.assertEqual(self.block("diff").splitlines(), found)


class Differences(unittest.TestCase):
    def test_only_imports_and_names_of_shared_objects_differ(self):
        for original in sorted((SOURCE / "tutorial").glob("*.py")):
            changed = (SOURCE / original.name).read_text(encoding="utf-8").splitlines()
            for line in original.read_text(encoding="utf-8").splitlines():
                code = line.strip()
                if not code or code in (text.strip() for text in changed):
                    continue
                with self.subTest(program=original.name, line=code):
                    self.assertRegex(
                        code,
                        r"^import |^from |threading\.(Condition|Lock|Event)\(|queue\.Queue\("
                        r"|self\._(balance|flag)\b|^arr = |\barr\b",
                    )


if __name__ == "__main__":
    unittest.main()
