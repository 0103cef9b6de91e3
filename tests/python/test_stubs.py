"""The stubs say what there is: each public name, each method, and its arguments."""
import ast
import inspect
import pathlib
import unittest

import shmkit

PACKAGE = pathlib.Path(shmkit.__file__).parent

# In stubs the exceptions of queue and threading are imported; ShutDown is queue's from 3.13 on.
NOT_OURS = {"Empty", "Full", "ShutDown", "BrokenBarrierError"}


def parse(file):
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def definitions(tree):
    """Name: its definitions, several of an overloaded function."""
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign):
            found.setdefault(node.target.id, []).append(node)
    return found


def exported(tree):
    """Name: the stub that has it, and its name there. `from m import x as x` exports x."""
    names = {name: (None, name) for name in definitions(tree) if not name.startswith("_")}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.asname == alias.name and not alias.name.startswith("_"):
                    names[alias.name] = (node.module if node.level else None, alias.name)
    return names


INIT, DATA = parse("__init__.pyi"), parse("_data.pyi")
STUBS = {**definitions(DATA), **definitions(INIT)}


def members_of_stub(name):
    """Of a class, with those of its bases in the stubs: name: definitions."""
    if name not in STUBS:
        return {}
    node = STUBS[name][0]
    members = {}
    for base in node.bases:
        base = base.value if isinstance(base, ast.Subscript) else base
        members.update(members_of_stub(getattr(base, "id", "")))
    members.update(definitions(node))
    return {name: found for name, found in members.items() if not name.startswith("_")}


def public_members(cls):
    of_base = set(dir(OSError)) if issubclass(cls, BaseException) else set(dir(object))
    return {name for name in dir(cls) if not name.startswith("_")} - of_base


def arguments_of_stub(node):
    """Names in order, and those behind the star."""
    of = node.args
    before = [a.arg for a in of.posonlyargs + of.args]
    return before[1:] if before[:1] == ["self"] else before, {a.arg for a in of.kwonlyargs}


def arguments_of(function):
    positional, keywords = [], set()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords.add(name)
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positional.append(name)
    return positional[1:] if positional[:1] == ["self"] else positional, keywords


class Stubs(unittest.TestCase):
    def test_each_public_name_has_a_stub_and_no_other_has(self):
        there = set(shmkit.__all__)
        self.assertEqual(there ^ set(exported(INIT)), set())
        self.assertTrue((PACKAGE / "py.typed").exists())

    def test_what_is_imported_is_there(self):
        for name, (module, original) in exported(INIT).items():
            if module == "_data":
                self.assertIn(original, STUBS, name)

    def test_each_member_of_a_class_has_a_stub_and_no_other_has(self):
        for name in sorted(set(shmkit.__all__) - NOT_OURS):
            cls = getattr(shmkit, name)
            if isinstance(cls, type):
                with self.subTest(name=name):
                    self.assertEqual(public_members(cls), set(members_of_stub(name)))

    def test_the_arguments_are_those_of_the_stub(self):
        checked = 0
        for name in sorted(set(shmkit.__all__) - NOT_OURS):
            cls = getattr(shmkit, name)
            if not isinstance(cls, type):
                continue
            for member, nodes in members_of_stub(name).items():
                function = getattr(cls, member)
                if isinstance(nodes[0], ast.AnnAssign) or not callable(function):
                    continue  # an attribute
                with self.subTest(member=f"{name}.{member}"):
                    said = [arguments_of_stub(node) for node in nodes]
                    self.assertIn(arguments_of(function), said)
                    checked += 1
        self.assertGreater(checked, 100)

    def test_functions_too(self):
        for name in "wait", "ready_fd", "unlink", "set_member_name":
            with self.subTest(name=name):
                said = [arguments_of_stub(node) for node in STUBS[name]]
                self.assertIn(arguments_of(getattr(shmkit, name)), said)


if __name__ == "__main__":
    unittest.main()
