//! What users write: the arguments of the attribute (`attr`), the fields of a struct, signatures and their dimensions.

pub mod attr;
pub mod dims;
pub mod fields;
pub mod signature;
