// What code that is not ours makes of a log: golang.org/x/mod/sumdb (tlog, note) and transparency-dev (merkle, formats). Exit 0 for accepted.
//
//	logjudge log KEY DIR                        both open the checkpoint, compute the root from the tiles' entries and agree with it; of an
//	                                            entry of length 0, whose content was removed, from the hash in its tile
//	logjudge inclusion KEY PROOF                c2sp.org/tlog-proof; the record is the proof's extra data
//	logjudge consistency KEY PROOF OLD          c2sp.org/tlog-witness add-checkpoint; OLD is the older checkpoint
//	logjudge prove KEY DIR N                    sumdb's own proof for record N, from the tiles, as hashes in base64
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	tproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func verifier(path string) (note.Verifier, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return fnote.NewVerifier(strings.TrimSpace(string(text)))
}

// Both parsers, on the text that note.Open has verified.
func open(v note.Verifier, signed []byte) (*log.Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return nil, err
	}
	var c log.Checkpoint
	if _, err := c.Unmarshal([]byte(n.Text)); err != nil {
		return nil, err
	}
	if c.Origin != v.Name() {
		return nil, errors.New("checkpoint of another log")
	}
	tree := "go.sum database tree\n" + strings.SplitN(n.Text, "\n", 2)[1]
	t, err := tlog.ParseTree([]byte(tree))
	if err != nil || uint64(t.N) != c.Size || !bytes.Equal(t.Hash[:], c.Hash) {
		return nil, fmt.Errorf("sumdb reads another checkpoint: %v, %v", t, err)
	}
	return &c, nil
}

func openFile(v note.Verifier, path string) (*log.Checkpoint, error) {
	signed, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return open(v, signed)
}

// tlog.TileReader over the folder: paths by sumdb's own rule, which c2sp.org/tlog-tiles keeps but for the height in it.
type tiles struct {
	dir  string
	kept map[tlog.Tile][]byte
}

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range want {
		if data, there := t.kept[tile]; there {
			out = append(out, data)
			continue
		}
		data, err := os.ReadFile(filepath.Join(t.dir, "tile", strings.TrimPrefix(tile.Path(), "tile/8/")))
		if err != nil && tile.W < 256 {
			full := tile
			full.W = 256
			data, err = os.ReadFile(filepath.Join(t.dir, "tile", strings.TrimPrefix(full.Path(), "tile/8/")))
		}
		if err != nil {
			return nil, err
		}
		t.kept[tile] = data[:32*tile.W]
		out = append(out, t.kept[tile])
	}
	return out, nil
}

func bundle(dir string, n, width uint64) ([]byte, error) {
	tile := tlog.Tile{H: 8, L: 0, N: int64(n), W: int(width)}
	path := strings.Replace(strings.TrimPrefix(tile.Path(), "tile/8/"), "0/", "entries/", 1)
	return os.ReadFile(filepath.Join(dir, "tile", path))
}

// The root over the records themselves, by merkle's compact range; see gives the hashes in their tile for each bundle of them.
func entries(dir string, size uint64, see func(first uint64, leaves [][]byte) ([]tlog.Hash, error)) ([]byte, error) {
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for index := uint64(0); index < size; {
		width := min(256, size-index)
		data, err := bundle(dir, index/256, width)
		if err != nil {
			return nil, err
		}
		var leaves [][]byte
		for i := uint64(0); i < width; i++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("bundle %d is cut", index/256)
			}
			leaf := data[2 : 2+int(binary.BigEndian.Uint16(data))]
			data = data[2+len(leaf):]
			leaves = append(leaves, leaf)
		}
		hashes, err := see(index, leaves)
		if err != nil {
			return nil, err
		}
		for i, leaf := range leaves {
			hash := rfc6962.DefaultHasher.HashLeaf(leaf)
			if len(leaf) == 0 {
				hash = hashes[i][:]
			}
			if err := r.Append(hash, nil); err != nil {
				return nil, err
			}
		}
		index += width
	}
	return r.GetRootHash(nil)
}

func hashReader(dir string, c *log.Checkpoint) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Hash)}, tiles{dir, map[tlog.Tile][]byte{}})
}

func judgeLog(key, dir string) error {
	v, err := verifier(key)
	if err != nil {
		return err
	}
	c, err := openFile(v, filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	byTiles, err := tlog.TreeHash(int64(c.Size), hashReader(dir, c))
	if err != nil {
		return err
	}
	reader, removed := hashReader(dir, c), 0
	byRecords, err := entries(dir, c.Size, func(first uint64, leaves [][]byte) ([]tlog.Hash, error) {
		var wanted []int64
		for i := range leaves {
			wanted = append(wanted, tlog.StoredHashIndex(0, int64(first)+int64(i)))
		}
		hashes, err := reader.ReadHashes(wanted)
		for i, leaf := range leaves {
			if len(leaf) == 0 {
				removed++
			} else if err == nil && hashes[i] != tlog.RecordHash(leaf) {
				err = fmt.Errorf("record %d has not the hash of its tile", first+uint64(i))
			}
		}
		return hashes, err
	})
	if err != nil {
		return err
	}
	if !bytes.Equal(byRecords, c.Hash) || !bytes.Equal(byTiles[:], c.Hash) {
		return errors.New("the root is another one")
	}
	fmt.Print(c.Size, " ", base64.StdEncoding.EncodeToString(byRecords))
	if removed > 0 {
		fmt.Print(" ", removed, " removed")
	}
	fmt.Println()
	return nil
}

func judgeInclusion(key, path string) error {
	v, err := verifier(key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var p tproof.TLogProof
	if err := p.Unmarshal(text); err != nil {
		return err
	}
	c, err := open(v, p.Checkpoint)
	if err != nil {
		return err
	}
	var hashes [][]byte
	var record tlog.RecordProof
	for _, h := range p.Hashes {
		hashes = append(hashes, h[:])
		record = append(record, tlog.Hash(h))
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(p.ExtraData)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, c.Size, leaf, hashes, c.Hash); err != nil {
		return err
	}
	if err := tlog.CheckRecord(record, int64(c.Size), tlog.Hash(c.Hash), int64(p.Index), tlog.RecordHash(p.ExtraData)); err != nil {
		return err
	}
	fmt.Println(p.Index, c.Size)
	return nil
}

func judgeConsistency(key, path, old string) error {
	v, err := verifier(key)
	if err != nil {
		return err
	}
	older, err := openFile(v, old)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || lines[0] != "old "+strconv.FormatUint(older.Size, 10) {
		return errors.New("not a proof from that checkpoint")
	}
	c, err := open(v, []byte(signed))
	if err != nil {
		return err
	}
	var hashes [][]byte
	var tree tlog.TreeProof
	for _, line := range lines[1:] {
		h, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(h) != sha256.Size {
			return errors.New("not a hash: " + line)
		}
		hashes = append(hashes, h)
		tree = append(tree, tlog.Hash(h))
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, older.Size, c.Size, hashes, older.Hash, c.Hash); err != nil {
		return err
	}
	if err := tlog.CheckTree(tree, int64(c.Size), tlog.Hash(c.Hash), int64(older.Size), tlog.Hash(older.Hash)); err != nil {
		return err
	}
	fmt.Println(older.Size, c.Size)
	return nil
}

func prove(key, dir, number string) error {
	v, err := verifier(key)
	if err != nil {
		return err
	}
	c, err := openFile(v, filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return err
	}
	hashes, err := tlog.ProveRecord(int64(c.Size), n, hashReader(dir, c))
	for _, h := range hashes {
		fmt.Println(h)
	}
	return err
}

func main() {
	commands := map[string]func([]string) error{
		"log":         func(a []string) error { return judgeLog(a[0], a[1]) },
		"inclusion":   func(a []string) error { return judgeInclusion(a[0], a[1]) },
		"consistency": func(a []string) error { return judgeConsistency(a[0], a[1], a[2]) },
		"prove":       func(a []string) error { return prove(a[0], a[1], a[2]) },
	}
	if len(os.Args) < 4 || commands[os.Args[1]] == nil {
		fmt.Println("logjudge log|inclusion|consistency|prove KEY ...")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}
