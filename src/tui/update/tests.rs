//! Journeys: keys and changes in, screens out.
