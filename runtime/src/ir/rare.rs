//! The slow path of vector code: for the few lanes where it cannot compute a function, kernels call scalar code.

/// A function of two numbers in scalar code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rare {
    /// The sine of the second, of any size.
    Sine,
    /// The cosine of the second, of any size.
    Cosine,
    /// What the first over the second, rounded towards zero, leaves over.
    Remainder,
}

impl Rare {
    /// The function.
    pub(crate) fn of(self, a: f32, b: f32) -> f32 {
        match self {
            Rare::Sine => (b as f64).sin() as f32,
            Rare::Cosine => (b as f64).cos() as f32,
            Rare::Remainder => a % b,
        }
    }

    /// The address of a function that puts `of(a[i], b[i])` into `a[i]` for each bit `i` of the third argument. Its
    /// calling convention is that of kernels.
    pub(crate) fn address(self) -> usize {
        match self {
            Rare::Sine => sines as *const () as usize,
            Rare::Cosine => cosines as *const () as usize,
            Rare::Remainder => remainders as *const () as usize,
        }
    }
}

macro_rules! called_by_kernels {
    ($($name:ident $function:ident;)*) => {$(
        /// # Safety
        ///
        /// Both must point to as many numbers as the highest bit of `places` says, and `a` to ones that are free to be
        /// written.
        #[cfg(target_arch = "x86_64")]
        unsafe extern "sysv64" fn $name(a: *mut f32, b: *const f32, places: u32) {
            // SAFETY: the caller answers for the memory.
            unsafe { each(Rare::$function, a, b, places) }
        }

        /// # Safety
        ///
        /// Both must point to as many numbers as the highest bit of `places` says, and `a` to ones that are free to be
        /// written.
        #[cfg(not(target_arch = "x86_64"))]
        unsafe extern "C" fn $name(a: *mut f32, b: *const f32, places: u32) {
            // SAFETY: the caller answers for the memory.
            unsafe { each(Rare::$function, a, b, places) }
        }
    )*};
}
called_by_kernels! {
    sines Sine;
    cosines Cosine;
    remainders Remainder;
}

/// # Safety
///
/// As of the functions that kernels call, which only choose `f`.
unsafe fn each(f: Rare, a: *mut f32, b: *const f32, places: u32) {
    for i in (0..32).filter(|i| places >> i & 1 == 1) {
        // SAFETY: the caller promises both elements for each bit that is set.
        unsafe { *a.add(i) = f.of(*a.add(i), *b.add(i)) }
    }
}
