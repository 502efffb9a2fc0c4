//! Images as a tensor: one picture per sample, each pixel divided by 255, in the order `[batch, channel, row, column]`.
//!
//! The model decides the size and whether pictures are grey (1 channel) or RGB (3). Nothing is resized or cropped,
//! because every way to do it gives other numbers; a picture of another size is refused. No mean is subtracted either:
//! for a model that wants it, prepare an `.npz`. PNG, JPEG and BMP are read.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader};
use veracity_graph::{Array, ArrayData, Dim};

/// Why pictures are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ImagesError {
    /// The folder cannot be listed.
    #[error("the folder cannot be read: {0}")]
    Folder(std::io::Error),
    /// No picture in the folder.
    #[error("the folder holds no .png, .jpg, .jpeg or .bmp file")]
    Empty,
    /// The model's input does not have the shape of pictures.
    #[error("input '{name}' takes {shape}, pictures are [batch, 1 or 3, height, width]")]
    NotPictures {
        /// Name of the input.
        name: String,
        /// Its shape in words.
        shape: String,
    },
    /// A picture is damaged.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// A picture has another size.
    #[error("{} has {} x {} pixels (width x height), expected {} x {}", path.display(), found.0, found.1, expected.0, expected.1)]
    Size {
        /// The file.
        path: PathBuf,
        /// Width and height expected.
        expected: (u32, u32),
        /// Width and height found.
        found: (u32, u32),
    },
    /// Too many pixels for one tensor.
    #[error("{n} pictures of {values} values each are beyond the limit of {max} values")]
    TooLarge {
        /// Pictures.
        n: usize,
        /// Values of one.
        values: usize,
        /// Most values.
        max: usize,
    },
}

impl ImagesError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Folder(_) => "images_folder",
            Self::Empty => "images_none",
            Self::NotPictures { .. } => "images_input",
            Self::Damaged { .. } => "images_damaged",
            Self::Size { .. } => "images_size",
            Self::TooLarge { .. } => "images_too_large",
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Folder(_) => "check the path and who may read it",
            Self::Empty => "put pictures directly into the folder; folders inside are not searched",
            Self::NotPictures { .. } => "give the samples as an .npz file",
            Self::Damaged { .. } => "remove or replace the file",
            Self::Size { .. } => "resize the pictures first, for example with ImageMagick",
            Self::TooLarge { .. } => "use fewer pictures",
        }
    }
}

/// The input that takes the pictures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a> {
    /// Name of the input, for messages.
    pub(crate) name: &'a str,
    /// Extents per sample.
    pub(crate) dims: &'a [Dim],
    /// The shape in words, for messages.
    pub(crate) shape: &'a str,
}

/// Most values of one tensor: 2 GiB of `f32`.
const VALUES_MAX: usize = 1 << 29;

/// Whether the name ends like a picture's.
pub(crate) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    matches!(extension.as_str(), "png" | "jpg" | "jpeg" | "bmp")
}

/// The pictures of a folder, by name.
///
/// # Errors
/// [`ImagesError::Folder`], [`ImagesError::Empty`].
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, ImagesError> {
    let entries = std::fs::read_dir(folder).map_err(ImagesError::Folder)?;
    let paths =
        entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(ImagesError::Folder)?;
    let mut pictures: Vec<PathBuf> = paths.into_iter().filter(|p| is_picture(p) && p.is_file()).collect();
    pictures.sort();
    if pictures.is_empty() { Err(ImagesError::Empty) } else { Ok(pictures) }
}

/// Reads pictures, one sample each.
///
/// # Errors
/// An [`ImagesError`] that names the file.
pub(crate) fn read(paths: &[PathBuf], slot: Slot<'_>) -> Result<Array, ImagesError> {
    let (channels, mut size) = layout(slot)?;
    let mut values = Vec::new();
    for path in paths {
        let found = dimensions(path)?;
        let expected = *size.get_or_insert(found);
        if found != expected {
            return Err(ImagesError::Size { path: path.clone(), expected, found });
        }
        check_count(paths.len(), channels, expected)?;
        push_planes(&mut values, &decode(path)?, channels);
    }
    let (width, height) = size.ok_or(ImagesError::Empty)?;
    let [width, height] = [width, height].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    Ok(Array { shape: vec![paths.len(), channels, height, width], data: ArrayData::F32(values) })
}

/// Channels, and width and height where the model fixes them.
fn layout(slot: Slot<'_>) -> Result<(usize, Option<(u32, u32)>), ImagesError> {
    let refuse = || ImagesError::NotPictures { name: slot.name.to_owned(), shape: slot.shape.to_owned() };
    match *slot.dims {
        [Dim::Fixed(c @ (1 | 3)), Dim::Fixed(h), Dim::Fixed(w)] => {
            Ok((if c == 1 { 1 } else { 3 }, Some((w, h))))
        }
        [Dim::Fixed(c @ (1 | 3)), Dim::Symbol(_), Dim::Symbol(_)] => Ok((if c == 1 { 1 } else { 3 }, None)),
        _ => Err(refuse()),
    }
}

fn check_count(n: usize, channels: usize, (width, height): (u32, u32)) -> Result<(), ImagesError> {
    let values =
        usize::try_from(u64::from(width) * u64::from(height)).unwrap_or(usize::MAX).saturating_mul(channels);
    if values.saturating_mul(n) > VALUES_MAX {
        return Err(ImagesError::TooLarge { n, values, max: VALUES_MAX });
    }
    Ok(())
}

fn open(path: &Path) -> Result<ImageReader<std::io::BufReader<std::fs::File>>, ImagesError> {
    ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|e| damaged(path, e))
}

fn dimensions(path: &Path) -> Result<(u32, u32), ImagesError> {
    open(path)?.into_dimensions().map_err(|e| damaged(path, e))
}

/// The decoder's own limit of 512 MiB holds.
fn decode(path: &Path) -> Result<DynamicImage, ImagesError> {
    open(path)?.decode().map_err(|e| damaged(path, e))
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> ImagesError {
    ImagesError::Damaged { path: path.to_owned(), reason: error.to_string() }
}

/// Channel by channel, row by row.
fn push_planes(values: &mut Vec<f32>, picture: &DynamicImage, channels: usize) {
    let scaled = |byte: u8| f32::from(byte) / 255.0;
    if channels == 1 {
        values.extend(picture.to_luma8().into_raw().into_iter().map(scaled));
        return;
    }
    let rgb = picture.to_rgb8().into_raw();
    for channel in 0..channels {
        values.extend(rgb.iter().skip(channel).step_by(channels).map(|&b| scaled(b)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/images").join(name)
    }

    fn slot(dims: &[Dim]) -> Slot<'_> {
        Slot { name: "image", dims, shape: "[batch, ..]" }
    }

    #[test]
    fn pictures_become_planes_in_the_order_of_their_names() {
        let dims = [Dim::Fixed(3), Dim::Fixed(2), Dim::Fixed(3)];
        let paths = list(&folder("rgb")).unwrap();
        let array = read(&paths, slot(&dims)).unwrap();
        assert_eq!(array.shape, [2, 3, 2, 3]);
        let ArrayData::F32(values) = array.data else { panic!("pictures are f32") };
        let bytes: Vec<f32> = (0..18u8).map(|i| f32::from(i * 10) / 255.0).collect();
        assert_eq!(values[..18], bytes, "a.png holds 0, 10, 20 .. plane by plane");
        assert!(values[18..].iter().all(|&v| v == 1.0), "b.bmp is white");
    }

    #[test]
    fn grey_and_dynamic_sizes() {
        let dims = [Dim::Fixed(1), Dim::Symbol(0), Dim::Symbol(1)];
        let array = read(&list(&folder("rgb")).unwrap(), slot(&dims)).unwrap();
        assert_eq!(array.shape, [2, 1, 2, 3]);
    }

    #[test]
    fn refusals_name_the_file_and_the_size() {
        let dims = [Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(4)];
        let paths = list(&folder("rgb")).unwrap();
        let refusal = read(&paths, slot(&dims)).unwrap_err();
        assert!(
            refusal.to_string().ends_with("a.png has 3 x 2 pixels (width x height), expected 4 x 8"),
            "{refusal}"
        );
        let flat = [Dim::Fixed(64)];
        assert_eq!(read(&paths, slot(&flat)).unwrap_err().code(), "images_input");
        let broken = [folder("broken").join("cut.png")];
        assert_eq!(read(&broken, slot(&dims)).unwrap_err().code(), "images_damaged");
        assert_eq!(list(&folder("absent")).unwrap_err().code(), "images_folder");
        assert_eq!(list(&folder("")).unwrap_err().code(), "images_none");
    }

    #[test]
    fn too_many_pixels_are_refused_before_decoding() {
        assert_eq!(check_count(4, 3, (20_000, 20_000)).unwrap_err().code(), "images_too_large");
    }
}
