// What golang.org/x/mod/sumdb makes of a published log: signed note, tiles, proofs. Exit 0 for accepted, 1 for refused.
//
//	tilesjudge FOLDER VERIFIER-KEY [OLDER-CHECKPOINT]
//
// The tiles are held to the signed root, the records in entry bundles (where there are any) by inclusion proofs, and
// that the tree continues that of the older checkpoint by a consistency proof. An entry of length 0 is one whose content was removed: what is
// proved of it is the hash of its tile.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// Tiles of c2sp.org/tlog-tiles: as those of sumdb, without the height in the path; data tiles have another name.
type folder string

func (f folder) Height() int { return height }

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) read(t tlog.Tile) ([]byte, error) {
	full := t
	full.W = 1 << height
	for _, tile := range []tlog.Tile{t, full} {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
		path = strings.Replace(path, "tile/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("no tile %s", t.Path())
}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		data, err := f.read(t)
		if err != nil {
			return nil, err
		}
		all = append(all, data[:t.W*tlog.HashSize])
	}
	return all, nil
}

func checkpoint(path string, verifier note.Verifier) (tlog.Tree, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("the note is no checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// All hashes from those of the leaves, the root from them, and every tile against them. TileHashReader alone does not do: it authenticates what a
// proof needs, and passes over some full tiles where several subtrees of the right edge lie in one tile.
func checkTiles(f folder, tree tlog.Tree) error {
	var stored []tlog.Hash
	built := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	for n := int64(0); n<<height < tree.N; n++ {
		tile := tlog.Tile{H: height, L: 0, N: n, W: int(min(tree.N-n<<height, 1<<height))}
		data, err := f.ReadTiles([]tlog.Tile{tile})
		if err != nil {
			return err
		}
		for i := 0; i < tile.W; i++ {
			leaf := tlog.Hash(data[0][i*tlog.HashSize : (i+1)*tlog.HashSize])
			hashes, err := tlog.StoredHashesForRecordHash(n<<height+int64(i), leaf, built)
			if err != nil {
				return err
			}
			stored = append(stored, hashes...)
		}
	}
	root, err := tlog.TreeHash(tree.N, built)
	if err != nil || root != tree.Hash {
		return errors.New("the leaves do not have the signed root")
	}
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		wanted, err := tlog.ReadTileData(tile, built)
		if err != nil {
			return err
		}
		data, err := f.ReadTiles([]tlog.Tile{tile})
		if err != nil || !bytes.Equal(data[0], wanted) {
			return fmt.Errorf("%s is not the tile of its leaves: %v", tile.Path(), err)
		}
	}
	return nil
}

// Of the record, or of what is left of it.
func leafHash(record []byte, index int64, reader tlog.HashReader) (tlog.Hash, error) {
	if len(record) > 0 {
		return tlog.RecordHash(record), nil
	}
	hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return tlog.Hash{}, err
	}
	return hashes[0], nil
}

// How many records there are, and how many of them without content.
func checkEntries(f folder, tree tlog.Tree, reader tlog.HashReader) (int64, int64, error) {
	var removed int64
	if _, err := os.Stat(filepath.Join(string(f), "tile", "entries")); err != nil {
		return 0, 0, nil
	}
	for n := int64(0); n<<height < tree.N; n++ {
		width := int(min(tree.N-n<<height, 1<<height))
		data, err := f.read(tlog.Tile{H: height, L: -1, N: n, W: width})
		if err != nil {
			return 0, 0, err
		}
		for i := 0; i < width; i++ {
			if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
				return 0, 0, fmt.Errorf("bundle %d is cut", n)
			}
			record := data[2 : 2+binary.BigEndian.Uint16(data)]
			data = data[2+len(record):]
			index := n<<height + int64(i)
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			if err != nil {
				return 0, 0, err
			}
			hash, err := leafHash(record, index, reader)
			if err != nil {
				return 0, 0, err
			}
			if len(record) == 0 {
				removed++
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, hash); err != nil {
				return 0, 0, fmt.Errorf("record %d: %w", index, err)
			}
		}
	}
	return tree.N, removed, nil
}

func judge(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: tilesjudge FOLDER VERIFIER-KEY [OLDER-CHECKPOINT]")
	}
	verifier, err := note.NewVerifier(arguments[1])
	if err != nil {
		return err
	}
	f := folder(arguments[0])
	tree, err := checkpoint(filepath.Join(arguments[0], "checkpoint"), verifier)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, f)
	if err := checkTiles(f, tree); err != nil {
		return err
	}
	records, removed, err := checkEntries(f, tree, reader)
	if err != nil {
		return err
	}
	if len(arguments) > 2 {
		older, err := checkpoint(arguments[2], verifier)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, older.N, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash); err != nil {
			return err
		}
	}
	fmt.Printf("accepted: %d leaves, root %s, %d records", tree.N, tree.Hash, records)
	if removed > 0 {
		fmt.Printf(", %d of them removed", removed)
	}
	fmt.Println()
	return nil
}

func main() {
	if err := judge(os.Args[1:]); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}
