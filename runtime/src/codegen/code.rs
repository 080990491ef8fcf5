//! Machine code in memory: compiled once for each distinct kernel, freed with its last user.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, Function, Signature, UserFuncName};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, isa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::backend::Backend;
use crate::error::Error;

/// Memory that holds machine code, and can then only be executed.
struct Code {
    map: memmap2::Mmap,
}

/// A compiled kernel. It keeps its code alive.
#[derive(Clone)]
pub(crate) struct Compiled {
    code: Arc<Code>,
    range: Range<usize>,
    backend: Backend,
    /// Whether no live program had the kernel before.
    fresh: bool,
}

impl Compiled {
    /// Where the kernel's code starts; it is there as long as `self` lives.
    pub(crate) fn address(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    /// The machine code, followed by its constants.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.code.map[self.range.clone()]
    }

    /// What made the code.
    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether the kernel was compiled for this request; otherwise a live program had it already.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }
}

/// The kernels of all live programs, by what they compute.
pub(super) struct Cache<K>(Mutex<Option<Known<K>>>);

/// The kernels by what they compute.
type Known<K> = HashMap<K, Entry>;

/// The code of a kernel, as long as a program is live that has it.
struct Entry {
    code: Weak<Code>,
    range: Range<usize>,
    backend: Backend,
}

/// The machine that the library runs on.
struct Target {
    isa: OwnedTargetIsa,
    fma: bool,
}

fn target() -> Result<&'static Target, Error> {
    static TARGET: OnceLock<Result<Target, String>> = OnceLock::new();
    let made = TARGET.get_or_init(|| {
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", "speed"),
            ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
            ("is_pic", "false"),
        ] {
            flags.set(name, value).map_err(|e| e.to_string())?;
        }
        let builder: isa::Builder = cranelift_native::builder().map_err(str::to_owned)?;
        let isa = builder.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())?;
        let lacks_fma = |flag: &settings::Value| flag.name == "has_fma" && flag.as_bool() == Some(false);
        let fma = !isa.isa_flags().iter().any(lacks_fma);
        Ok(Target { isa, fma })
    });
    made.as_ref().map_err(|message| Error::Compile { what: "for this machine".into(), message: message.clone() })
}

impl<K: Clone + Eq + Hash> Cache<K> {
    pub(super) const fn new() -> Cache<K> {
        Cache(Mutex::new(None))
    }

    /// The kernels for these keys. `machine_code` makes the code of one, and says what made it. The code of those that
    /// are not known yet is put together in one piece of memory.
    pub(super) fn compile(
        &self,
        keys: &[&K],
        machine_code: impl Fn(&K) -> Result<(Vec<u8>, Backend), Error>,
    ) -> Result<Vec<Compiled>, Error> {
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let known = known.get_or_insert_default();
        known.retain(|_, entry| entry.code.strong_count() > 0);
        let mut found: HashMap<&K, Compiled> = HashMap::new();
        let mut fresh: Vec<(&K, Range<usize>, Backend)> = Vec::new();
        let mut bytes = Vec::new();
        for &key in keys {
            if found.contains_key(key) || fresh.iter().any(|(k, ..)| *k == key) {
                continue;
            }
            match known.get(key).and_then(|entry| Some((entry, entry.code.upgrade()?))) {
                Some((entry, code)) => {
                    let (range, backend) = (entry.range.clone(), entry.backend);
                    found.insert(key, Compiled { code, range, backend, fresh: false });
                }
                None => {
                    bytes.resize(bytes.len().next_multiple_of(64), 0);
                    let start = bytes.len();
                    let (code, backend) = machine_code(key)?;
                    bytes.extend(code);
                    fresh.push((key, start..bytes.len(), backend));
                }
            }
        }
        if !fresh.is_empty() {
            let code = Arc::new(Code::new(&bytes)?);
            for (key, range, backend) in fresh {
                known.insert(key.clone(), Entry { code: Arc::downgrade(&code), range: range.clone(), backend });
                found.insert(key, Compiled { code: code.clone(), range, backend, fresh: true });
            }
        }
        Ok(keys.iter().map(|key| found[key].clone()).collect())
    }
}

impl Code {
    fn new(bytes: &[u8]) -> Result<Code, Error> {
        let refused =
            |error: std::io::Error| Error::Compile { what: "memory for code".into(), message: error.to_string() };
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).map_err(refused)?;
        map.copy_from_slice(bytes);
        Ok(Code { map: map.make_exec().map_err(refused)? })
    }
}

/// The code of a function of so many pointers or sizes. `emit` is told whether the machine multiplies and adds
/// in one rounding.
pub(super) fn machine_code(
    pointers: usize,
    emit: impl FnOnce(&mut FunctionBuilder<'_>, bool),
) -> Result<Vec<u8>, Error> {
    let target = target()?;
    // Emitted kernels are called in the same way on all systems.
    let x86 = cfg!(target_arch = "x86_64");
    let convention = if x86 { CallConv::SystemV } else { CallConv::triple_default(target.isa.triple()) };
    let mut signature = Signature::new(convention);
    signature.params.resize(pointers, AbiParam::new(I64));
    let mut context = Context::for_function(Function::with_name_signature(UserFuncName::default(), signature));
    let mut scratch = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut scratch);
    emit(&mut builder, target.fma);
    builder.finalize(target.isa.frontend_config());
    let refused = |message: String| Error::Compile { what: "a kernel".into(), message };
    let compiled =
        context.compile(&*target.isa, &mut ControlPlane::default()).map_err(|e| refused(format!("{:?}", e.inner)))?;
    if !compiled.buffer.relocs().is_empty() {
        return Err(refused("the kernel calls a function that this machine has no instruction for".into()));
    }
    Ok(compiled.code_buffer().to_vec())
}
