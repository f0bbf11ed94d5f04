using System.Diagnostics;
using System.Text.Unicode;

namespace Blkring.Output;

/// <summary>
/// One line on stderr, rewritten five times per second during a run, if stderr is a terminal. An update allocates
/// nothing, because garbage collections are counted during the run.
/// </summary>
internal sealed class ProgressLine : IDisposable
{
    private const int PeriodMs = 200;
    private const int BarCells = 20;

    private readonly Func<long> _completed;
    private readonly double _seconds;
    private readonly Stream _stderr = Console.OpenStandardError();
    private readonly byte[] _line = new byte[256];
    private readonly Lock _lock = new();
    private readonly ManualResetEventSlim _end = new();
    private readonly Thread? _thread;
    private string _abi = "";
    private int _depth;
    private long _startedAt,
        _completedAtStart;
    private bool _running,
        _shown;

    /// <param name="completed">Requests answered so far; called from another thread.</param>
    /// <param name="seconds">Length of a run.</param>
    public ProgressLine(Func<long> completed, double seconds)
    {
        (_completed, _seconds) = (completed, seconds);
        if (Console.IsErrorRedirected)
            return;
        _thread = new Thread(Update) { Name = "progress", IsBackground = true };
        _thread.Start();
    }

    public void Begin(string abi, int depth)
    {
        lock (_lock)
        {
            (_abi, _depth, _running) = (abi, depth, true);
            (_startedAt, _completedAtStart) = (Stopwatch.GetTimestamp(), _completed());
        }
    }

    /// <summary>Removes the line from the terminal.</summary>
    public void Hide()
    {
        lock (_lock)
        {
            _running = false;
            if (!_shown)
                return;
            _stderr.Write("\r\e[K"u8);
            _shown = false;
        }
    }

    private void Update()
    {
        while (!_end.Wait(PeriodMs))
        {
            lock (_lock)
            {
                if (_running)
                    Show();
            }
        }
    }

    private void Show()
    {
        double elapsed = Stopwatch.GetElapsedTime(_startedAt).TotalSeconds;
        double part = Math.Min(1, elapsed / _seconds);
        long requests = _completed() - _completedAtStart;
        Span<byte> bar = stackalloc byte[BarCells];
        bar.Fill((byte)'.');
        bar[..(int)(part * BarCells)].Fill((byte)'#');

        Utf8.TryWrite(_line, $"\r{_abi, -6}  depth {_depth, 3}  [", out int length);
        bar.CopyTo(_line.AsSpan(length));
        length += BarCells;
        Utf8.TryWrite(
            _line.AsSpan(length),
            $"] {(int)(part * 100), 3}%  {requests} requests, {(long)(requests / elapsed)} per second\e[K",
            out int rest
        );
        _stderr.Write(_line.AsSpan(0, length + rest));
        _shown = true;
    }

    public void Dispose()
    {
        _end.Set();
        _thread?.Join();
        Hide();
        _end.Dispose();
    }
}
