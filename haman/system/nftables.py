"""nftables, through its own library (libnftables(3)), for rules that must not outlive a process.

A table with `flags owner` belongs to the netlink socket that made it: nobody else can change it, a
`flush ruleset` passes it by, and the kernel removes it when the socket is closed, however its process
ends. So there is nothing to clean up after a crash. Linux 5.12, nftables 0.9.9.

As small as `inet_diag`, for the same reason.
"""

import ctypes

LIBRARY = "libnftables.so.1"


class NftablesError(OSError):
    """The library is missing, or the kernel or the library refused."""


class Nftables:
    """One netlink socket, and the tables that it owns.

    Raises:
        NftablesError: no library.
    """

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise NftablesError(f"{LIBRARY} is not installed (Debian: nftables)") from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        used = ("buffer_error", "get_error_buffer", "buffer_output", "get_output_buffer", "free")
        for name in used:
            getattr(library, f"nft_ctx_{name}").argtypes = [ctypes.c_void_p]
        self._library = library
        self._context = library.nft_ctx_new(0)
        if not self._context:
            raise NftablesError("nft_ctx_new failed")
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_buffer_output(self._context)

    def run(self, commands: str) -> str:
        """Have these commands done, all or none; what they print.

        Raises:
            NftablesError: none was done; the text is the library's first complaint.
        """
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()):
            said = self._library.nft_ctx_get_error_buffer(self._context) or b""
            first = said.decode(errors="replace").partition("\n")[0]
            raise NftablesError(f"nftables: {first.removeprefix('Error: ') or 'refused'}")
        printed = self._library.nft_ctx_get_output_buffer(self._context) or b""
        return str(printed.decode(errors="replace"))

    def close(self) -> None:
        """Close the socket: the kernel removes its tables."""
        self._library.nft_ctx_free(self._context)


def installed() -> bool:
    """Whether the library is there."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True
