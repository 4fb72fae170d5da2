//! Loops over many numbers, in the widest registers that the computer has.

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use realfft::num_complex::Complex32;

/// Makes a function whose body is compiled for each kind of register, and runs as the one for this
/// computer. What it calls must be inlined into it. `<'a, S>(simd: S; ...)`: the registers too.
macro_rules! wide {
    (
        $(#[$doc:meta])*
        fn $name:ident<$life:lifetime>($($arg:ident: $kind:ty),* $(,)?) $(-> $out:ty)?
        $body:block
    ) => {
        wide! {
            $(#[$doc])*
            fn $name<$life, S>(_simd: S; $($arg: $kind),*) $(-> $out)? $body
        }
    };
    (
        $(#[$doc:meta])*
        fn $name:ident<$life:lifetime, S>(
            $simd:ident: S; $($arg:ident: $kind:ty),* $(,)?
        ) $(-> $out:ty)?
        $body:block
    ) => {
        $(#[$doc])*
        fn $name<$life>($($arg: $kind),*) $(-> $out)? {
            struct Work<$life> {
                $($arg: $kind),*
            }
            impl<$life> pulp::WithSimd for Work<$life> {
                type Output = wide!(@output $($out)?);

                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, simd: S) -> Self::Output {
                    let Self { $($arg),* } = self;
                    work(simd, $($arg),*)
                }
            }
            // Of arguments the compiler knows that they lie apart; of fields it does not.
            #[inline(always)]
            fn work<$life, S: pulp::Simd>($simd: S, $($arg: $kind),*) $(-> $out)? $body
            pulp::Arch::new().dispatch(Work { $($arg),* })
        }
    };
    (@output $out:ty) => { $out };
    (@output) => { () };
}

pub(crate) use wide;

/// [bins] as [bins][re, im].
pub(crate) fn flat(spectrum: &[Complex32]) -> &[f32] {
    cast_slice(spectrum)
}

/// [bins] as [bins][re, im].
pub(crate) fn flat_mut(spectrum: &mut [Complex32]) -> &mut [f32] {
    cast_slice_mut(spectrum)
}
