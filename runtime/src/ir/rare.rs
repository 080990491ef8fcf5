//! Scalar code that kernels call: for the few lanes where vector code cannot compute a function, or for functions that
//! have none.

use std::hash::{Hash, Hasher};

/// A scalar function as kernels call it, with the calling convention of kernels.
#[cfg(target_arch = "x86_64")]
type ScalarFunction = unsafe extern "sysv64" fn(*mut f32, *const f32, u32);
#[cfg(not(target_arch = "x86_64"))]
type ScalarFunction = unsafe extern "C" fn(*mut f32, *const f32, u32);

/// A function of two numbers in scalar code. Functions of the same name are equal.
#[derive(Clone, Copy)]
pub(crate) struct Rare {
    pub(crate) name: &'static str,
    /// Puts `function(a[i], b[i])` into `a[i]` for each bit `i` of the third argument.
    pub(crate) called: ScalarFunction,
}

impl Rare {
    /// The function.
    #[cfg(test)]
    pub(crate) fn of(self, mut a: f32, b: f32) -> f32 {
        // SAFETY: one number each, for one bit.
        unsafe { (self.called)(&raw mut a, &raw const b, 1) };
        a
    }

    /// The address that kernels call.
    pub(crate) fn address(self) -> usize {
        self.called as *const () as usize
    }
}

impl PartialEq for Rare {
    fn eq(&self, other: &Rare) -> bool {
        self.name == other.name
    }
}

impl Eq for Rare {}

impl Hash for Rare {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for Rare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A `Rare` of a function of two numbers.
macro_rules! scalar {
    ($name:literal, $function:expr) => {{
        /// # Safety
        ///
        /// As `each`.
        #[cfg(target_arch = "x86_64")]
        unsafe extern "sysv64" fn called(a: *mut f32, b: *const f32, places: u32) {
            // SAFETY: the caller answers for the memory.
            unsafe { $crate::ir::rare::each($function, a, b, places) }
        }

        /// # Safety
        ///
        /// As `each`.
        #[cfg(not(target_arch = "x86_64"))]
        unsafe extern "C" fn called(a: *mut f32, b: *const f32, places: u32) {
            // SAFETY: the caller answers for the memory.
            unsafe { $crate::ir::rare::each($function, a, b, places) }
        }
        $crate::ir::rare::Rare { name: $name, called }
    }};
}
pub(crate) use scalar;

/// The sine of the second number, of any size.
pub(crate) const SINE: Rare = scalar!("sine", |_, x| (x as f64).sin() as f32);
/// The cosine of the second number, of any size.
pub(crate) const COSINE: Rare = scalar!("cosine", |_, x| (x as f64).cos() as f32);
/// The remainder of the first number divided by the second, with the quotient rounded towards zero.
pub(crate) const REMAINDER: Rare = scalar!("remainder", |a, b| a % b);

/// # Safety
///
/// `a` and `b` must point to as many numbers as the highest bit of `places` says; nothing else may use those of `a`.
pub(crate) unsafe fn each(function: fn(f32, f32) -> f32, a: *mut f32, b: *const f32, places: u32) {
    for i in (0..32).filter(|i| places >> i & 1 == 1) {
        // SAFETY: the caller promises an element of `a` and of `b` for each bit that is set.
        unsafe { *a.add(i) = function(*a.add(i), *b.add(i)) }
    }
}
