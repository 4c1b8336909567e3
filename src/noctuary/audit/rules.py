"""What a mixer file may not name, each with the reason: tables only.

Covers parts of allowed packages that lead out of them, built-in functions, attributes and special
methods. Does not look at any code (`audit.reach`), and does not say which packages are allowed:
that is the policy's.
"""

DENIED: dict[str, str] = {
    # files and what is executed from them
    "torch.load": "reads files and runs what is pickled in them",
    "torch.save": "writes files",
    "torch.from_file": "reads files",
    "torch.hub": "downloads code and runs it",
    "torch.serialization": "reads and writes files",
    "torch.package": "runs code from files",
    "torch.storage": "reads and writes memory and files",
    "torch.utils.model_zoo": "downloads files",
    "torch.utils.tensorboard": "writes files",
    "torch.utils.data": "reads data and starts processes",
    "torch.utils.file_baton": "writes files",
    "torch.utils.collect_env": "starts programs",
    "torch.utils.benchmark": "runs code from text",
    "torch.utils.model_dump": "reads and writes files",
    "torch.utils.show_pickle": "reads files",
    "torch.jit.load": "runs code from files",
    "torch.jit.save": "writes files",
    "torch.onnx": "writes files",
    "torch.export": "compiles code and writes files",
    "torch.profiler": "watches the process and writes files",
    "torch.autograd.profiler": "watches the process and writes files",
    "torch.monitor": "watches the process",
    "torch.testing": "holds the test tools of torch, with files and processes",
    "numpy.ctypeslib": "loads machine code",
    "numpy.f2py": "compiles and loads machine code",
    "numpy.genfromtxt": "reads files",
    "numpy.load": "reads files and runs what is pickled in them",
    "numpy.loadtxt": "reads files",
    "numpy.memmap": "reads and writes files",
    "numpy.save": "writes files",
    "numpy.savez": "writes files",
    "numpy.savetxt": "writes files",
    # code that is made at run time
    "torch.compile": "starts compilers, which run outside the sandbox only",
    "torch.compiler.compile": "starts compilers, which run outside the sandbox only",
    "torch.utils.cpp_extension": "compiles and loads machine code",
    "torch.ops.load_library": "loads machine code",
    "torch.classes.load_library": "loads machine code",
    "torch.cuda.jiterator": "compiles machine code",
    "torch.fx": "makes code at run time",
    "typing.get_type_hints": "evaluates text as code",
    "typing.types": "makes functions from code",
    "typing.ForwardRef": "evaluates text as code",
    "operator.attrgetter": "gets attributes by names that cannot be read here",
    "operator.methodcaller": "calls methods by names that cannot be read here",
    # processes, threads and networks
    "torch.distributed": "opens sockets and starts processes",
    "torch.multiprocessing": "starts processes",
    "torch.futures": "starts threads",
    "torch.jit.fork": "starts threads",
    "torch.nn.parallel": "starts threads",
    "torch.nn.DataParallel": "starts threads",
    # what the whole process shares
    "torch.library": "puts operators in the place of torch's",
    "torch.overrides": "puts functions in the place of torch's",
    "torch.nn.modules.module": "holds the hooks of all modules",
    "torch.manual_seed": "sets the random numbers of the whole process; use a torch.Generator",
    "torch.seed": "sets the random numbers of the whole process; use a torch.Generator",
    "torch.random.manual_seed": "sets the random numbers of the whole process",
    "torch.random.seed": "sets the random numbers of the whole process",
    "torch.set_rng_state": "sets the random numbers of the whole process",
    "torch.random.set_rng_state": "sets the random numbers of the whole process",
    "torch.cuda.manual_seed": "sets the random numbers of the whole process",
    "torch.cuda.manual_seed_all": "sets the random numbers of the whole process",
    "torch.default_generator": "is the random numbers of the whole process",
    "torch.random.default_generator": "is the random numbers of the whole process",
    "torch.utils.swap_tensors": "changes the tensors of others",
    "torch.utils.set_module": "changes the classes of others",
    "torch.utils.rename_privateuse1_backend": "is a setting of the whole process",
    "torch.set_anomaly_enabled": "is a setting of the whole process",
    "torch.set_printoptions": "is a setting of the whole process",
    "torch.set_vital": "is a setting of the whole process",
    "torch.set_warn_always": "is a setting of the whole process",
    "torch.autograd.set_multithreading_enabled": "is a setting of the whole process",
    "torch.set_default_dtype": "is a setting of the whole process",
    "torch.set_default_device": "is a setting of the whole process",
    "torch.set_default_tensor_type": "is a setting of the whole process",
    "torch.set_num_threads": "is a setting of the whole process",
    "torch.set_num_interop_threads": "is a setting of the whole process",
    "torch.set_flush_denormal": "is a setting of the whole process",
    "torch.set_float32_matmul_precision": "is a setting of the whole process",
    "torch.set_deterministic_debug_mode": "is a setting of the whole process",
    "torch.use_deterministic_algorithms": "is a setting of the whole process",
    "torch.autograd.set_detect_anomaly": "is a setting of the whole process",
}
"""Dotted names, with everything below them."""

ONLY: dict[str, tuple[str, ...]] = {
    "lightning": ("LightningModule", "pytorch.LightningModule"),
    "pytorch_lightning": ("LightningModule",),
}
"""Packages of which so little is wanted that the rest is denied."""

PRIVATE_FINE = (
    "torch._assert",
    "torch._higher_order_ops.associative_scan",
    "torch.nn.modules.utils._",
)
"""Beginnings of private names that published mixers use."""

NO_WAYS_OUT = frozenset({
    "abc", "chunk", "copy", "math", "random", "select", "signal", "trace", "types",
})  # fmt: skip
"""Names of standard modules that parts of torch have as well, or that lead nowhere. The others
hang as attributes on the modules that import them (`torch.serialization.os`), and are denied."""

WAYS_OUT_ANYWHERE = frozenset({"builtins", "ctypes", "importlib", "os", "subprocess", "sys"})
"""Those that are denied as an attribute of anything, also of what is unknown here."""

FRAMES = frozenset({
    "ag_await", "ag_code", "ag_frame", "co_code", "co_consts", "cr_await", "cr_code", "cr_frame",
    "cr_origin", "f_back", "f_builtins", "f_code", "f_globals", "f_locals", "f_trace", "gi_code",
    "gi_frame", "gi_yieldfrom", "tb_frame", "tb_next",
})  # fmt: skip
"""Attributes that lead from a function, generator or error to the code that called it."""

OTHER_ATTRIBUTES: dict[str, str] = {
    "format_map": "gets attributes by names that cannot be read here",
    "fromfile": "reads files",
    "from_file": "reads files",
    "grad_fn": "leads to what is computed around the mixer",
    "load_library": "loads machine code",
    "load_url": "downloads files",
    "mro": "leads to the classes of others",
    "share_memory_": "shares memory with other processes",
    "next_functions": "leads to what is computed around the mixer",
    "tofile": "writes files",
    "to_torchscript": "writes files",
}

BUILTINS: dict[str, str] = {
    "__import__": "imports by names that cannot be read here",
    "breakpoint": "stops for a debugger",
    "compile": "makes code from text",
    "delattr": "takes attributes away by name",
    "eval": "runs text as code",
    "exec": "runs text as code",
    "exit": "ends the process",
    "globals": "leads to every name of the file",
    "help": "waits for a person",
    "input": "waits for a person",
    "locals": "leads to every name of the function",
    "memoryview": "reads and writes memory",
    "open": "reads and writes files",
    "quit": "ends the process",
    "vars": "leads to every name of an object",
    "SystemExit": "ends the process",
    "KeyboardInterrupt": "ends the process",
}

DUNDER_ATTRIBUTES = frozenset({
    "__call__", "__class__", "__enter__", "__eq__", "__exit__", "__getitem__", "__init__",
    "__iter__", "__len__", "__name__", "__ne__", "__next__", "__qualname__", "__setitem__",
    "__version__",
})  # fmt: skip
"""Special attributes of anything that are no way to anywhere. Those of `super()` are too, but for
the ones in `HOOKS` and the few that all objects have in common."""

SHARED_BY_ALL = frozenset({
    "__builtins__", "__code__", "__dict__", "__func__", "__globals__", "__mro__", "__reduce__",
    "__reduce_ex__", "__self__", "__subclasses__", "__thisclass__",
})  # fmt: skip

DUNDER_NAMES = frozenset({"__class__", "__debug__", "__name__"})
"""Special names that may be read."""

LABELS = frozenset({"__all__", "__author__", "__date__", "__license__", "__version__", "__slots__"})
"""Special names that may be given a value; `__constants__` is one of TorchScript's."""

HOOKS: dict[str, str] = {
    "__class_getitem__": "runs code where a class is named",
    "__del__": "runs code at a time that nobody chose",
    "__getattribute__": "stands between an object and all its attributes",
    "__init_subclass__": "runs code where a class is defined",
    "__instancecheck__": "runs code where somebody asks for a class",
    "__mro_entries__": "runs code where a class is defined",
    "__prepare__": "runs code where a class is defined",
    "__reduce__": "runs code where an object is copied or stored",
    "__reduce_ex__": "runs code where an object is copied or stored",
    "__set_name__": "runs code where a class is defined",
    "__subclasscheck__": "runs code where somebody asks for a class",
    "__torch_dispatch__": "stands between torch and its operations",
    "__torch_function__": "stands between torch and its operations",
}
"""Methods that others call without naming them."""

QUIET_BUILTINS = frozenset({
    "abs", "bool", "complex", "dict", "float", "frozenset", "int", "len", "list", "max", "min",
    "object", "range", "round", "set", "slice", "str", "tuple",
})  # fmt: skip
QUIET = (
    "math.",
    "typing.",
    "typing_extensions.",
    "torch.finfo",
    "torch.iinfo",
    "torch.device",
    "torch.Size",
    "dataclasses.field",
    "logging.getLogger",
    "collections.namedtuple",
)
"""Calls that name a constant rather than work for one; fine at import."""
