using Blkring.Engine.Errors;
using Blkring.Engine.Xenbus;
using Blkring.Interop;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>
/// A xenstore in memory, for one thread: the keys, the watches and the connections, which can be refused, busy or lost.
/// </summary>
internal sealed class MemoryXenstore
{
    private const string Home = "/local/domain/0/";

    private readonly List<Connection> _connections = [];
    private readonly int _thread = Environment.CurrentManagedThreadId;

    private SortedDictionary<string, string> Keys { get; set; } = new(StringComparer.Ordinal);

    /// <summary>Nobody can connect.</summary>
    public bool IsDown { get; set; }

    /// <summary>Every write fails, as it does when a quota is used up.</summary>
    public bool RefusesWrites { get; set; }

    public int Connects { get; private set; }
    public int RefusedWrites { get; private set; }

    public IXenstore Connect()
    {
        CheckThread();
        Connects++;
        if (IsDown)
            throw new XenstoreException(ErrorCode.StoreNotRunning, "xenstore does not answer", Errno.ECONNREFUSED);
        Connection connection = new(this);
        _connections.Add(connection);
        return connection;
    }

    /// <summary>All connections are lost, and no other can be made until <see cref="IsDown"/> is false.</summary>
    public void Kill()
    {
        IsDown = true;
        _connections.Clear();
    }

    private static string Absolute(string path) => path.StartsWith('/') ? path : Home + path;

    private void Changed(string path)
    {
        foreach (Connection connection in _connections)
            connection.NoteChange(path);
    }

    /// <summary>The control plane was asked to use one thread only.</summary>
    private void CheckThread() => Assert.Equal(_thread, Environment.CurrentManagedThreadId);

    private sealed class Connection(MemoryXenstore store) : IXenstore
    {
        private readonly List<(string Path, string Token)> _watches = [];
        private readonly Queue<(string Path, string Token)> _events = new();
        private SortedDictionary<string, string>? _transaction;
        private readonly List<string> _changes = [];

        private SortedDictionary<string, string> Keys => _transaction ?? store.Keys;

        /// <summary>No thread waits for it.</summary>
        public int Descriptor => -1;

        public string? Read(string path, uint transaction = 0)
        {
            Check();
            return Keys.GetValueOrDefault(Absolute(path));
        }

        public void Write(string path, string value, uint transaction = 0)
        {
            Check();
            if (store.RefusesWrites && !path.StartsWith('/'))
            {
                store.RefusedWrites++;
                throw new XenstoreException(ErrorCode.StoreCallFailed, $"xenstore write {path}: EQUOTA", Errno.EDQUOT);
            }
            Keys[Absolute(path)] = value;
            Note(Absolute(path));
        }

        public void Remove(string path, uint transaction = 0)
        {
            Check();
            string absolute = Absolute(path);
            string[] below = [.. Keys.Keys.Where(key => key == absolute || IsBelow(key, absolute))];
            foreach (string key in below)
                Keys.Remove(key);
            if (below.Length > 0)
                Note(absolute);
        }

        public IReadOnlyList<string>? Directory(string path, uint transaction = 0)
        {
            Check();
            string absolute = Absolute(path);
            string[] names =
            [
                .. Keys
                    .Keys.Where(key => IsBelow(key, absolute))
                    .Select(key => key[(absolute.Length + 1)..].Split('/')[0])
                    .Distinct(),
            ];
            return names.Length > 0 || Keys.ContainsKey(absolute) ? names : null;
        }

        public uint StartTransaction()
        {
            Check();
            _transaction = new(store.Keys, StringComparer.Ordinal);
            return 1;
        }

        public bool EndTransaction(uint transaction, bool abort)
        {
            Check();
            if (!abort)
                store.Keys = _transaction!;
            _transaction = null;
            string[] changes = abort ? [] : [.. _changes];
            _changes.Clear();
            foreach (string path in changes)
                store.Changed(path);
            return true;
        }

        public void Watch(string path, string token)
        {
            Check();
            _watches.Add((path, token));
            _events.Enqueue((path, token));
        }

        public void Unwatch(string path, string token)
        {
            Check();
            _watches.Remove((path, token));
        }

        public bool CheckWatch(out string path, out string token)
        {
            Check();
            bool any = _events.TryDequeue(out (string Path, string Token) next);
            (path, token) = any ? next : ("", "");
            return any;
        }

        public void Dispose() => store._connections.Remove(this);

        /// <summary>
        /// As xenstored reports it: the changed path, or the watched path if it was removed with its parent.
        /// </summary>
        public void NoteChange(string changed)
        {
            foreach ((string watched, string token) in _watches)
            {
                string absolute = Absolute(watched);
                string? reported =
                    changed == absolute || IsBelow(changed, absolute) ? changed
                    : IsBelow(absolute, changed) ? absolute
                    : null;
                if (reported is not null)
                    _events.Enqueue((watched.StartsWith('/') ? reported : reported[Home.Length..], token));
            }
        }

        private void Note(string path)
        {
            if (_transaction is not null)
                _changes.Add(path);
            else
                store.Changed(path);
        }

        private void Check()
        {
            store.CheckThread();
            if (!store._connections.Contains(this))
                throw new XenstoreException(ErrorCode.StoreDisconnected, "the connection is lost", Errno.EPIPE);
        }

        private static bool IsBelow(string path, string parent) =>
            path.Length > parent.Length
            && path[parent.Length] == '/'
            && path.StartsWith(parent, StringComparison.Ordinal);
    }
}
