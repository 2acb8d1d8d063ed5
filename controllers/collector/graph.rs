//! Who owns whom, and what follows from it. Pure.

use std::collections::{BTreeSet, HashMap};

use kube::{Resource, ResourceExt};

/// Finalizer of an object that goes after what it owns.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose belongings stay.
pub const ORPHAN: &str = "orphan";

/// One object, reduced to what matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its kind, as a place in the table of kinds.
    pub kind: usize,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Who owns it.
    pub owners: Vec<Owner>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// It is being deleted.
    pub deleting: bool,
}

/// A reference to an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Uid of the owner.
    pub uid: String,
    /// API version of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// A foreground deletion of the owner waits for the object.
    pub blocks: bool,
}

/// What to do about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// All its owners seem to be gone: make sure, then delete it.
    DeleteUnowned,
    /// Its owner goes and takes it along.
    Delete,
    /// It stays when this owner goes.
    Disown(String),
    /// Nothing keeps it any more.
    RemoveFinalizer(&'static str),
}

/// All objects.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    owned: HashMap<String, BTreeSet<String>>,
}

impl Node {
    /// Reduces an object. `None` for one without a uid.
    pub fn of(kind: usize, object: &impl Resource) -> Option<Self> {
        let owner = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| Owner {
            uid: owner.uid.clone(),
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            blocks: owner.block_owner_deletion == Some(true),
        };
        Some(Node {
            kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid()?,
            owners: object.owner_references().iter().map(owner).collect(),
            finalizers: object.finalizers().to_vec(),
            deleting: object.meta().deletion_timestamp.is_some(),
        })
    }
}

impl Graph {
    /// Takes in an object. Answers the uids that may need something done.
    pub fn put(&mut self, node: Node) -> BTreeSet<String> {
        let mut touched = self.forget_owners(&node.uid);
        for owner in &node.owners {
            self.owned.entry(owner.uid.clone()).or_default().insert(node.uid.clone());
            touched.insert(owner.uid.clone());
        }
        touched.insert(node.uid.clone());
        self.nodes.insert(node.uid.clone(), node);
        touched
    }

    /// Forgets an object. Answers the uids that may need something done.
    pub fn remove(&mut self, uid: &str) -> BTreeSet<String> {
        let mut touched = self.forget_owners(uid);
        self.nodes.remove(uid);
        touched.extend(self.owned.get(uid).into_iter().flatten().cloned());
        touched
    }

    fn forget_owners(&mut self, uid: &str) -> BTreeSet<String> {
        let owners: BTreeSet<String> = self
            .nodes
            .get(uid)
            .into_iter()
            .flat_map(|node| &node.owners)
            .map(|owner| owner.uid.clone())
            .collect();
        for owner in &owners {
            if let Some(owned) = self.owned.get_mut(owner) {
                owned.remove(uid);
                if owned.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
        owners
    }

    /// An object by its uid.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Uids of all objects of a kind.
    pub fn of_kind(&self, kind: usize) -> BTreeSet<String> {
        self.nodes.values().filter(|node| node.kind == kind).map(|node| node.uid.clone()).collect()
    }

    /// What follows for one object: actions on it and on what it owns, by uid.
    pub fn actions(&self, uid: &str) -> Vec<(String, Action)> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        let mut actions = Vec::new();
        let unowned =
            !node.owners.is_empty() && node.owners.iter().all(|owner| !self.nodes.contains_key(&owner.uid));
        if unowned && !node.deleting {
            actions.push((uid.to_owned(), Action::DeleteUnowned));
        }
        if !node.deleting {
            return actions;
        }
        let owned = || self.owned.get(uid).into_iter().flatten().filter_map(|owned| self.nodes.get(owned));
        let has = |finalizer: &str| node.finalizers.iter().any(|own| own == finalizer);
        if has(ORPHAN) {
            actions.extend(owned().map(|owned| (owned.uid.clone(), Action::Disown(uid.to_owned()))));
            if owned().next().is_none() {
                actions.push((uid.to_owned(), Action::RemoveFinalizer(ORPHAN)));
            }
        } else if has(FOREGROUND) {
            actions.extend(owned().filter(|o| !o.deleting).map(|owned| (owned.uid.clone(), Action::Delete)));
            let blocks = |owned: &Node| owned.owners.iter().any(|owner| owner.uid == uid && owner.blocks);
            if !owned().any(blocks) {
                actions.push((uid.to_owned(), Action::RemoveFinalizer(FOREGROUND)));
            }
        }
        actions
    }
}
