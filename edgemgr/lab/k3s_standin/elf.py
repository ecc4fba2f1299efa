"""ELF files made by hand: the head of the stand-in's one file, and the process that stands for a pod."""

from __future__ import annotations

import struct

from edgemgr.model.release import ELF_MAGIC, RULES, Arch

_BASE = 0x400000
_MESSAGE = b"k3s stand-in: cannot start /usr/bin/python3\n"
_PT_NULL, _PT_LOAD, _READ_AND_EXECUTE = 0, 1, 5


def python_launcher() -> bytes:
    """x86-64 code that runs /usr/bin/python3 on the very file it lies in, with the caller's arguments.

    The path comes from AT_EXECFN in the auxiliary vector (getauxval(3)): argv[0] may say anything, and /proc may not
    be mounted. Python runs a file that ends in a zip archive (docs.python.org, zipapp), and goes by the name it was
    called with, so the symbolic links kubectl, ctr and crictl work.
    """
    strings = b"/usr/bin/python3\0", b"-IS\0", _MESSAGE  # -I: no environment, no user site; -S: no site-packages
    code_bytes = 0x96
    python = code_bytes
    flags = python + len(strings[0])
    message = flags + len(strings[1])

    def relative(target: int, following: int) -> bytes:
        return struct.pack("<i", target - following)

    code = b"".join(
        (
            b"\x48\x89\xe3",  # 00 mov rbx, rsp              the stack holds argc, argv, 0, envp, 0, auxv
            b"\x48\x8b\x0b",  # 03 mov rcx, [rbx]            rcx = argc
            b"\x48\x8d\x54\xcb\x10",  # 06 lea rdx, [rbx+rcx*8+16]   rdx = envp, the third argument of execve
            b"\x48\x89\xd6",  # 0b mov rsi, rdx
            b"\x48\x8b\x06",  # 0e mov rax, [rsi]            skip the environment
            b"\x48\x83\xc6\x08",  # 11 add rsi, 8
            b"\x48\x85\xc0",  # 15 test rax, rax
            b"\x75\xf4",  # 18 jnz 0e
            b"\x48\x8b\x06",  # 1a mov rax, [rsi]            walk the auxiliary vector
            b"\x48\x83\xf8\x1f",  # 1d cmp rax, 31               AT_EXECFN
            b"\x74\x0b",  # 21 je 2e
            b"\x48\x85\xc0",  # 23 test rax, rax             AT_NULL: not there
            b"\x74\x4a",  # 26 jz 72
            b"\x48\x83\xc6\x10",  # 28 add rsi, 16
            b"\xeb\xec",  # 2c jmp 1a
            b"\x4c\x8b\x46\x08",  # 2e mov r8, [rsi+8]           r8 = our own path
            b"\x48\x8d\x04\xcd\x20\x00\x00\x00",  # 32 lea rax, [rcx*8+32]       room for argc + 4 pointers
            b"\x48\x29\xc4",  # 3a sub rsp, rax
            b"\x48\x89\xe7",  # 3d mov rdi, rsp
            b"\x4c\x8d\x0d" + relative(python, 0x47),  # 40 lea r9, [python]
            b"\x4c\x89\x0f",  # 47 mov [rdi], r9             argv[0] = python
            b"\x48\x8d\x05" + relative(flags, 0x51),  # 4a lea rax, [flags]
            b"\x48\x89\x47\x08",  # 51 mov [rdi+8], rax          argv[1] = -IS
            b"\x4c\x89\x47\x10",  # 55 mov [rdi+16], r8          argv[2] = our own path
            b"\x48\x83\xc7\x18",  # 59 add rdi, 24
            b"\x48\x8d\x73\x10",  # 5d lea rsi, [rbx+16]         the caller's argv[1] ... and the final 0
            b"\xfc",  # 61 cld
            b"\xf3\x48\xa5",  # 62 rep movsq
            b"\x4c\x89\xcf",  # 65 mov rdi, r9
            b"\x48\x89\xe6",  # 68 mov rsi, rsp
            b"\xb8\x3b\x00\x00\x00",  # 6b mov eax, 59               execve
            b"\x0f\x05",  # 70 syscall                   returns only when it failed
            b"\xbf\x02\x00\x00\x00",  # 72 mov edi, 2                standard error
            b"\x48\x8d\x35" + relative(message, 0x7E),  # 77 lea rsi, [message]
            b"\xba" + struct.pack("<i", len(_MESSAGE)),  # 7e mov edx, length
            b"\xb8\x01\x00\x00\x00",  # 83 mov eax, 1                write
            b"\x0f\x05",  # 88 syscall
            b"\xbf\x7e\x00\x00\x00",  # 8a mov edi, 126              found, but cannot be run
            b"\xb8\xe7\x00\x00\x00",  # 8f mov eax, 231              exit_group
            b"\x0f\x05",  # 94 syscall
        )
    )
    return code + b"".join(strings)


def sleeper() -> bytes:
    """x86-64 code that waits for a signal for ever: a process of some kilobytes that stands for a pod."""
    return (
        b"\xb8\x22\x00\x00\x00"  # 0 mov eax, 34    pause
        b"\x0f\x05"  # 5 syscall
        b"\xeb\xf7"  # 7 jmp 0
    )


def elf_file(arch: Arch, code: bytes, payload: bytes = b"") -> bytes:
    """A static executable with one segment of code and a payload behind it.

    The payload is named in a program header that the kernel passes over (PT_NULL), so that a file that was cut off
    shows it by its own headers, as a real program does. For other architectures than amd64 the head is right, while
    the code is not theirs: such a file can be checked and carried, not run.
    """
    rule = RULES[arch]
    wide = rule.elf_class == 2  # noqa: PLR2004 — ELFCLASS64
    header_bytes, program_header_bytes = (64, 56) if wide else (52, 32)
    code_at = header_bytes + 2 * program_header_bytes
    loaded = code_at + len(code)
    identity = ELF_MAGIC + bytes((rule.elf_class, 1, 1, 0)) + bytes(8)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH" if wide else "<16sHHIIIIIHHHHHH",
        identity,
        2,  # ET_EXEC
        rule.elf_machine,
        1,  # EV_CURRENT
        _BASE + code_at,  # entry
        header_bytes,  # the program headers follow at once
        0,  # no section headers
        0x5000400 if arch is Arch.ARM else 0,  # EABI version 5, hard float
        header_bytes,
        program_header_bytes,
        2,
        0,
        0,
        0,
    )
    return b"".join(
        (
            header,
            _program_header(_PT_LOAD, 0, loaded, wide=wide),
            _program_header(_PT_NULL, loaded, len(payload), wide=wide),
            code,
            payload,
        )
    )


def _program_header(kind: int, offset: int, size: int, *, wide: bool) -> bytes:
    address = _BASE + offset
    if wide:
        return struct.pack("<IIQQQQQQ", kind, _READ_AND_EXECUTE, offset, address, address, size, size, 0x1000)
    return struct.pack("<IIIIIIII", kind, offset, address, address, size, size, _READ_AND_EXECUTE, 0x1000)
