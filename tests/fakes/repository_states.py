"""States that a remote repository, a branch or our clone can be in; each is made with real git."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fakes.gitops import FILES, PATH, RELEASE, Remote

Do = Callable[["Scene"], object]


@dataclass(frozen=True)
class Scene:
    """A remote, the person's clone of it, and the clone of ours that looks at it."""

    remote: Remote
    clone: Path

    @property
    def bare(self) -> Path:
        return Path(self.remote.url)

    def git(self, *argv: str, stdin: bytes = b"") -> str:
        """Run git on the remote itself."""
        environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": "x@x"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        command = ["git", "--git-dir", self.remote.url, *argv]
        done = subprocess.run(
            command, input=stdin, check=True, capture_output=True, env=environment
        )
        return done.stdout.decode(errors="replace").strip()

    def tree(self, files: Mapping[bytes, tuple[str, bytes]]) -> str:
        """A tree of one level: name -> (mode, content)."""
        lines = b""
        for name, (mode, content) in sorted(files.items()):
            is_module = mode == "160000"
            blob = (
                "1" * 40 if is_module else self.git("hash-object", "-w", "--stdin", stdin=content)
            )
            kind = "commit" if is_module else "blob"
            lines += f"{mode} {kind} {blob}\t".encode() + name + b"\0"
        return self.git("mktree", "-z", "--missing", stdin=lines)

    def commit_tree(self, tree: str, *parents: str) -> "Scene":
        """Make main a commit of this tree."""
        argv = [piece for parent in parents for piece in ("-p", parent)]
        commit = self.git("commit-tree", tree, *argv, "-m", "state")
        self.git("update-ref", "refs/heads/main", commit)
        return self

    def with_file(self, name: bytes, content: bytes, mode: str = "100644") -> "Scene":
        """Main as it was made, flat, with one more file (or another one of that name)."""
        flat = {path.encode().replace(b"/", b"_"): ("100644", body) for path, body in FILES.items()}
        return self.commit_tree(self.tree({**flat, name: (mode, content)}))

    def raw_commit(self, head: bytes, message: bytes = b"m\n") -> "Scene":
        """A commit with headers as no git would write them."""
        tree = self.git("rev-parse", "main^{tree}").encode()
        body = b"tree " + tree + b"\n" + head + b"\n" + message
        commit = self.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=body)
        (self.bare / "refs/heads/main").write_text(commit + "\n")
        return self

    def objects(self) -> list[Path]:
        """Files of the remote's objects."""
        return [p for p in (self.bare / "objects").rglob("*") if p.is_file()]

    def make_anew(self, *, object_format: str = "sha1") -> "Scene":
        """Another repository at the same address, with the same files."""
        if self.bare.is_file():
            self.bare.unlink()
        shutil.rmtree(self.bare, ignore_errors=True)
        argv = ["git", "init", "-q", "--bare", "--initial-branch=main", self.remote.url]
        subprocess.run([*argv, f"--object-format={object_format}"], check=True)
        return self.commit_tree(
            self.tree({p.replace("/", "_").encode(): ("100644", b) for p, b in FILES.items()})
        )


FLAT: Final = PATH.replace("/", "_").encode()
OTHER: Final = RELEASE.replace("next-word", "other").replace("keyboard-other", "other").encode()


def _run(*steps: tuple[str, ...]) -> Do:
    return lambda scene: [scene.git(*step) for step in steps]


def _named(name: bytes) -> Do:
    return lambda scene: scene.with_file(name, OTHER)


def _damage(path: str, content: bytes) -> Do:
    def damage(scene: Scene) -> Scene:
        file = scene.clone / "repository.git" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return scene

    return damage


def _remove(path: Path) -> Path:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def _corrupt(scene: Scene) -> Scene:
    for file in scene.objects():
        file.chmod(0o644)
        file.write_bytes(b"garbage")
    return scene


def _corrupt_clone(scene: Scene) -> None:
    for file in (scene.clone / "repository.git/objects").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"garbage")
    scene.with_file(b"new.yaml", OTHER)


def _folder_ref(scene: Scene) -> None:
    tip = scene.git("rev-parse", "main")
    scene.git("update-ref", "-d", "refs/heads/main")
    scene.git("update-ref", "refs/heads/main/sub", tip)


def _many_commits(scene: Scene) -> Scene:
    stream = b"".join(
        b"commit refs/heads/long\ncommitter x <x@x> %d +0000\ndata 1\nx\n" % i
        for i in range(1, 3000)
    )
    scene.git("fast-import", "--quiet", stdin=stream)
    return scene.commit_tree(scene.git("rev-parse", "main^{tree}"), scene.git("rev-parse", "long"))


def _many_files(scene: Scene) -> None:
    flat = {p.encode().replace(b"/", b"_"): ("100644", b) for p, b in FILES.items()}
    blob = scene.git("hash-object", "-w", "--stdin", stdin=b"a: 1\n")
    more = b"".join(f"100644 blob {blob}\tf{i:05}.yaml\0".encode() for i in range(5000))
    base = scene.git("ls-tree", "-z", scene.tree(flat)).encode().replace(b"\n", b"\0")
    scene.commit_tree(scene.git("mktree", "-z", stdin=base.rstrip(b"\0") + b"\0" + more))


def _deep(scene: Scene) -> None:
    tree = scene.tree({b"x.yaml": ("100644", OTHER)})
    for _ in range(300):
        tree = scene.git("mktree", "-z", stdin=f"040000 tree {tree}\tdeep\0".encode())
    flat = scene.tree({p.encode().replace(b"/", b"_"): ("100644", b) for p, b in FILES.items()})
    base = scene.git("ls-tree", flat).replace("\n", "\0") + "\0" + f"040000 tree {tree}\tdeep\0"
    scene.commit_tree(scene.git("mktree", "-z", stdin=base.encode()))


KEPT: Final[Mapping[str, Do]] = {
    # the branch
    "branch renamed": _run(("branch", "-m", "main", "trunk")),
    "branch deleted": _run(("update-ref", "-d", "refs/heads/main")),
    "branch emptied": lambda s: s.commit_tree(s.tree({}), s.git("rev-parse", "main")),
    "branch an empty orphan": lambda s: s.commit_tree(s.tree({})),
    "branch has become a folder": _folder_ref,
    "ref file empty": lambda s: (s.bare / "refs/heads/main").write_bytes(b""),
    "ref file garbage": lambda s: (s.bare / "refs/heads/main").write_bytes(b"\xff\0garbage\n"),
    "ref to an object that is not there": lambda s: (s.bare / "refs/heads/main").write_text(
        "1" * 40 + "\n"
    ),
    "ref to a blob": lambda s: (s.bare / "refs/heads/main").write_text(
        s.git("hash-object", "-w", "--stdin", stdin=b"x") + "\n"
    ),
    "ref to itself": lambda s: (s.bare / "refs/heads/main").write_text("ref: refs/heads/main\n"),
    "ref to a branch that is not there": _run(
        ("symbolic-ref", "refs/heads/main", "refs/heads/nowhere")
    ),
    "policy removed": lambda s: s.commit_tree(s.tree({FLAT: ("100644", FILES[PATH])})),
    # the remote
    "remote gone": lambda s: s.bare.rename(s.bare.with_name("gone")),
    "remote a file": lambda s: (s.bare.rename(s.bare.with_name("gone")), s.bare.write_bytes(b"x")),
    "remote an empty folder": lambda s: [_remove(p) for p in s.bare.iterdir()],
    "remote an empty repository": lambda s: (
        _remove(s.bare),
        subprocess.run(["git", "init", "-q", "--bare", s.remote.url], check=True),
    ),
    "remote's HEAD garbage": lambda s: (s.bare / "HEAD").write_bytes(b"\xffgarbage"),
    "remote's config garbage": lambda s: (s.bare / "config").write_bytes(b"[\xff"),
    "remote's objects garbage and a new tip": lambda s: (
        s.with_file(b"n.yaml", OTHER),
        _corrupt(s),
    ),
    "remote's objects gone": lambda s: (
        s.with_file(b"n.yaml", OTHER),
        _remove(s.bare / "objects"),
    ),
    "remote of a later format": lambda s: s.git("config", "core.repositoryformatversion", "99"),
    # what stands in the place of a manifest
    "a link": lambda s: s.with_file(FLAT, b"policy.yaml", "120000"),
    "a link to itself": lambda s: s.with_file(b"policy.yaml", b"policy.yaml", "120000"),
    "a link outside": lambda s: s.with_file(b"policy.yaml", b"/etc/passwd", "120000"),
    "a submodule": lambda s: s.with_file(b"policy.yaml", b"", "160000"),
    "an LFS pointer": lambda s: s.with_file(
        b"policy.yaml", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    ),
    "a large policy": lambda s: s.with_file(
        b"policy.yaml", FILES["policy.yaml"] + b"#" * (5 << 20)
    ),
    "an empty policy": lambda s: s.with_file(b"policy.yaml", b""),
    "a binary policy": lambda s: s.with_file(b"policy.yaml", bytes(range(256)) * 9),
    "a policy in UTF-16": lambda s: s.with_file(
        b"policy.yaml", FILES["policy.yaml"].decode().encode("utf-16")
    ),
    "a conflict": lambda s: s.with_file(b"policy.yaml", b"<<<<<<< a\n" + FILES["policy.yaml"]),
    "two policies": lambda s: s.with_file(b"POLICY.yaml", FILES["policy.yaml"]),
    "the release twice": lambda s: s.with_file(b"copy\xe9.yaml", FILES[PATH]),
    "a policy that the stages refuse": lambda s: s.with_file(
        b"policy.yaml",
        FILES["policy.yaml"].replace(b"driftWindowMs: 900000", b"driftWindowMs: 14400000"),
    ),
    "a bomb": lambda s: s.with_file(
        b"b.yaml", b"apiVersion: holdfast.dev/v1\na: " + b"[" * 200_000
    ),
    "many mistakes": lambda s: s.with_file(
        b"policy.yaml", FILES["policy.yaml"].replace(b"[DE, FR]", b"[" + b"'!'," * 40_000 + b"]")
    ),
}
"""The last good state stays in force."""

TAKEN: Final[Mapping[str, Do]] = {
    # the branch
    "forced to an orphan": _named(b"other.yaml"),
    "recreated": lambda s: (
        s.git("update-ref", "-d", "refs/heads/main"),
        s.with_file(b"o.yaml", OTHER),
    ),
    "packed refs": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.git("pack-refs", "--all", "--prune"),
    ),
    "packed objects": lambda s: (s.with_file(b"o.yaml", OTHER), s.git("gc", "-q", "--prune=now")),
    "a symbolic ref": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.git("branch", "-m", "main", "trunk"),
        s.git("symbolic-ref", "refs/heads/main", "refs/heads/trunk"),
    ),
    "a tag of its name": lambda s: (s.git("tag", "main"), s.with_file(b"o.yaml", OTHER)),
    "other refs below and beside": lambda s: (
        s.git("update-ref", "refs/heads/mai", "main"),
        s.git("update-ref", "refs/heads/a/b/c", "main"),
        s.with_file(b"o.yaml", OTHER),
    ),
    "refs that are not UTF-8": lambda s: (
        (s.bare / "packed-refs").write_bytes(
            s.git("rev-parse", "main").encode() + b" refs/heads/caf\xe9\n"
        ),
        s.with_file(b"o.yaml", OTHER),
    ),
    "HEAD elsewhere": lambda s: (
        s.git("symbolic-ref", "HEAD", "refs/heads/x"),
        s.with_file(b"o.yaml", OTHER),
    ),
    "made anew": lambda s: (s.make_anew(), s.with_file(b"o.yaml", OTHER)),
    "made anew with SHA-256": lambda s: (
        s.make_anew(object_format="sha256"),
        s.with_file(b"o.yaml", OTHER),
    ),
    "a replaced commit": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.git("replace", "main", s.git("commit-tree", s.tree({}), "-m", "x")),
    ),
    "a long history": lambda s: (s.with_file(b"o.yaml", OTHER), _many_commits(s)),
    "a merge of eight": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.commit_tree(
            s.git("rev-parse", "main^{tree}"),
            *(s.git("commit-tree", s.tree({}), "-m", str(i)) for i in range(8)),
        ),
    ),
    # names
    "a name in Latin-1": _named(b"caf\xe9.yaml"),
    "a name of all bytes": _named(
        bytes(b for b in range(1, 256) if b not in b"/")[:240] + b".yaml"
    ),
    "a name with a line end": _named(b"a\nb.yaml"),
    "a name with a tab": _named(b"a\tb.yaml"),
    "a name with quotes": _named(b"a\"b'.yaml"),
    "a name with a backslash": _named(b"caf\\xe9.yaml"),
    "a name with a dash": _named(b"--upload-pack=x.yaml"),
    "a name that turns round": _named("a\u202elmay.b.yaml".encode()),
    "a name of surrogates": _named(b"\xed\xa0\x80.yaml"),
    "a name of a space": _named(b" .yaml"),
    "a long name": _named(b"n" * 4000 + b".yaml"),
    "a name of no letters": _named(b".yaml"),
    "names that differ in case": lambda s: s.with_file(b"OTHER.YAML", OTHER),
    # commits
    "an author in Latin-1": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.raw_commit(b"author Andr\xe9 <a\xff@x> 1 +0000\ncommitter \xff <> 1 +0000\n"),
    ),
    "a message that is not UTF-8": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.raw_commit(b"author a <a@x> 1 +0000\ncommitter a <a@x> 1 +0000\n", b"\xff\xfe\0m\n"),
    ),
    "an encoding that nobody knows": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.raw_commit(b"author a <a@x> 1 +0000\ncommitter a <a@x> 1 +0000\nencoding klingon\n"),
    ),
    "a commit of the year 292277026596": lambda s: (
        s.with_file(b"o.yaml", OTHER),
        s.raw_commit(b"author a <a@x> 9223372036854775807 +9999\ncommitter a <a@x> 9 -9999\n"),
    ),
    # files
    "an executable file": lambda s: s.with_file(b"o.yaml", OTHER, "100755"),
    "a link beside": lambda s: s.with_file(b"l.yaml", FLAT, "120000"),
    "a submodule beside": lambda s: s.with_file(b"sub.yaml", b"", "160000"),
    "a .gitmodules that runs": lambda s: s.with_file(
        b".gitmodules", b'[submodule "x"]\nurl = --upload-pack=x\n'
    ),
    "attributes with filters": lambda s: s.with_file(
        b".gitattributes", b"* filter=x text eol=crlf ident\n"
    ),
    "a large file beside": lambda s: s.with_file(b"large.yaml", b"#" * (9 << 20)),
    "templates beside": lambda s: s.with_file(b"t.yaml", b"{{ .Values.x }}: [\n"),
    "thousands of files": _many_files,
    "hundreds of folders": _deep,
    # the clone
    "clone: a lock": lambda s: (
        _damage("refs/remotes/origin/main.lock", b"")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: a shallow lock": lambda s: (
        _damage("shallow.lock", b"")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: no HEAD": lambda s: (_damage("HEAD", b"")(s), s.with_file(b"o.yaml", OTHER)),
    "clone: config garbage": lambda s: (
        _damage("config", b"[\xff")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: packed refs garbage": lambda s: (
        _damage("packed-refs", b"\xff\n")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: shallow garbage": lambda s: (
        _damage("shallow", b"x\n")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: ref garbage": lambda s: (
        _damage("refs/remotes/origin/main", b"x")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: ref empty": lambda s: (
        _damage("refs/remotes/origin/main", b"")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: objects garbage": _corrupt_clone,
    "clone: objects gone": lambda s: (
        _remove(s.clone / "repository.git/objects"),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: gone": lambda s: (_remove(s.clone), s.with_file(b"o.yaml", OTHER)),
    "clone: a file": lambda s: (
        _remove(s.clone / "repository.git"),
        (s.clone / "repository.git").write_bytes(b"x"),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: a branch that is a folder of ours": lambda s: (
        _remove(s.clone / "repository.git/refs/remotes/origin/main"),
        _damage("refs/remotes/origin/main/sub", s.git("rev-parse", "main").encode() + b"\n")(s),
        s.with_file(b"o.yaml", OTHER),
    ),
    "clone: left-over packs": lambda s: (
        _damage("objects/pack/tmp_pack_x", b"x" * 9999)(s),
        s.with_file(b"o.yaml", OTHER),
    ),
}
"""The new state is taken; that of its files alone is what counts."""
