//! Where everything stands on the screen: a function of the size and of what is shown.

use ratatui::layout::Rect;

/// Below this size one sentence is all that is drawn.
pub const SMALLEST: (u16, u16) = (60, 15);
/// From this width on tree and detail stand side by side.
const TWO_PANES: u16 = 76;

/// Which pane the keys go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The tree.
    #[default]
    Tree,
    /// What is selected in it.
    Detail,
}

/// The parts of the screen. A pane that is not shown has no width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// The first line.
    pub header: Rect,
    /// Under it while there is no connection.
    pub banner: Rect,
    /// The tree with its border.
    pub tree: Rect,
    /// The rows of the tree.
    pub rows: Rect,
    /// The detail with its border.
    pub detail: Rect,
    /// What is inside.
    pub inner: Rect,
    /// The message box, within the detail, above its lower border.
    pub message: Rect,
    /// The last line.
    pub footer: Rect,
}

/// What decides about the areas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Columns and rows.
    pub size: (u16, u16),
    /// The pane with the keys: on a narrow screen the only one.
    pub pane: Pane,
    /// True while the banner is shown.
    pub banner: bool,
    /// Rows of the message box; none when there is no box.
    pub message: u16,
    /// True where what stands at the left takes the whole width while it has the keys.
    pub wide: bool,
}

/// True when the screen is too small for anything.
pub fn too_small((width, height): (u16, u16)) -> bool {
    width < SMALLEST.0 || height < SMALLEST.1
}

/// Divides the screen.
pub fn areas(shape: Shape) -> Areas {
    let (width, height) = shape.size;
    let banner = u16::from(shape.banner);
    let top = 1 + banner;
    let body = Rect::new(0, top, width, height.saturating_sub(top + 1));
    let (tree, detail) = if shape.wide && shape.pane == Pane::Tree {
        (body, Rect { width: 0, ..body })
    } else if width >= TWO_PANES {
        let left = (width * 38 / 100).clamp(34, 64);
        (Rect { width: left, ..body }, Rect { x: left, width: width - left, ..body })
    } else {
        let hidden = Rect { width: 0, ..body };
        match shape.pane {
            Pane::Tree => (body, hidden),
            Pane::Detail => (hidden, body),
        }
    };
    let inside = inset(detail);
    let message = shape.message.min(inside.height / 2);
    let inner = Rect { height: inside.height - message, ..inside };
    Areas {
        header: Rect::new(0, 0, width, 1.min(height)),
        banner: Rect::new(0, 1, width, banner),
        tree,
        rows: inset(tree),
        detail,
        inner,
        message: Rect { y: inner.y + inner.height, height: message, ..inside },
        footer: Rect::new(0, height.saturating_sub(1), width, 1.min(height)),
    }
}

fn inset(area: Rect) -> Rect {
    if area.width < 2 || area.height < 2 {
        return Rect { width: 0, height: 0, ..area };
    }
    Rect::new(area.x + 1, area.y + 1, area.width - 2, area.height - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_leaves_the_screen_or_overlaps(width in 0u16..400, height in 0u16..120, message in 0u16..20,
                                                 banner: bool, right: bool, wide: bool) {
            let pane = if right { Pane::Detail } else { Pane::Tree };
            let all = areas(Shape { size: (width, height), pane, banner, message, wide });
            let screen = Rect::new(0, 0, width, height);
            if !too_small((width, height)) {
                for area in [all.header, all.banner, all.tree, all.rows, all.detail, all.inner, all.message, all.footer] {
                    prop_assert!(area.is_empty() || screen.union(area) == screen, "{area:?}");
                }
                prop_assert!(all.tree.intersection(all.detail).is_empty());
                prop_assert!(all.inner.intersection(all.message).is_empty());
                prop_assert!(!all.rows.is_empty() || !all.inner.is_empty());
            }
        }
    }
}
