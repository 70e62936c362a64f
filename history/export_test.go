package history

import bolt "go.etcd.io/bbolt"

// OpenWithStep opens the file as a version would that has one more migration.
func OpenWithStep(opt Options, step func(*bolt.Tx) error) error {
	opt.setDefaults()
	db, err := bolt.Open(opt.Path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	s := &Store{opt: opt, db: db}
	return s.migrate(append(migrations(), step))
}
