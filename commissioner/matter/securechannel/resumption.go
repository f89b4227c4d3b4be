package securechannel

import (
	"container/list"
	"crypto/sha256"
	"crypto/subtle"
	"sync"

	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/cert"
)

// maxResumptions is how many records are kept; the oldest makes room.
const maxResumptions = 2048

// Resumptions are the secrets by which sessions are resumed without
// certificates. They live in memory only: after a restart CASE is full. The
// zero value is ready to use.
type Resumptions struct {
	mu     sync.Mutex
	byPeer map[peerKey]*list.Element // of *resumption
	byID   map[[resumptionIDSize]byte]*list.Element
	order  list.List // newest first
}

// peerKey is a peer, and who we were to it: a peer that resumes a session goes
// on with the rights of the certificate that it was first opened with.
type peerKey struct {
	fabric uint8
	noc    [sha256.Size]byte // ours
	node   cert.NodeID
}

func (id *Identity) peer(node cert.NodeID) peerKey {
	return peerKey{id.Index, sha256.Sum256(id.NOC), node}
}

type resumption struct {
	peer   peerKey
	id     [resumptionIDSize]byte
	secret []byte
	cats   []cert.CAT
}

func (r *Resumptions) find(peer peerKey) *resumption {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byPeer[peer]; e != nil {
		return e.Value.(*resumption)
	}
	return nil
}

func (r *Resumptions) findID(id [resumptionIDSize]byte) *resumption {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byID[id]; e != nil {
		return e.Value.(*resumption)
	}
	return nil
}

func (r *Resumptions) save(n *resumption) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byPeer == nil {
		r.byPeer = make(map[peerKey]*list.Element)
		r.byID = make(map[[resumptionIDSize]byte]*list.Element)
	}
	r.remove(r.byPeer[n.peer])
	if r.order.Len() >= maxResumptions {
		r.remove(r.order.Back())
	}
	e := r.order.PushFront(n)
	r.byPeer[n.peer], r.byID[n.id] = e, e
}

func (r *Resumptions) remove(e *list.Element) {
	if e == nil {
		return
	}
	old := r.order.Remove(e).(*resumption)
	delete(r.byPeer, old.peer)
	delete(r.byID, old.id)
}

// Forget drops what is known of a fabric (node 0), or of one node of it: it
// must be called whenever a NOC, a CAT or a zone of a peer changed, since a
// resumed session keeps the rights of the first.
func (r *Resumptions) Forget(fabric uint8, node cert.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for peer, e := range r.byPeer {
		if peer.fabric == fabric && (node == 0 || peer.node == node) {
			r.remove(e)
		}
	}
}

// resumeMIC proves knowledge of the secret of the resumption id.
func resumeMIC(secret []byte, random [randomSize]byte, id [resumptionIDSize]byte, info, nonce string) (mic [message.TagSize]byte, err error) {
	key, err := sigmaKey(secret, info, random[:], id[:])
	if err != nil {
		return mic, err
	}
	sealed, err := sealPart(key, nonce, nil)
	return [message.TagSize]byte(sealed), err
}

func sameMIC(a, b [message.TagSize]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
