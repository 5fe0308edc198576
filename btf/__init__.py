"""The kernel's type information: BTF files in, types out. Imports nothing else of surftrace."""

from surftrace.btf.errors import BtfError
from surftrace.btf.files import load
from surftrace.btf.format import Kind
from surftrace.btf.reader import Btf
from surftrace.btf.records import BtfType, Enumerator, Member, Parameter

__all__ = ["Btf", "BtfError", "BtfType", "Enumerator", "Kind", "Member", "Parameter", "load"]
