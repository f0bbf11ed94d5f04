namespace Blkring.Layouts.Tests;

/// <summary>
/// A random run of ring operations, the same for a seed. Both sides keep to the protocol, so that the run goes round
/// and round the ring through its full and its empty state; now and then one scribbles on the shared page, and what was
/// there is put back.
/// </summary>
internal sealed class RingScript
{
    private const int Length = 4000;

    // Asked at any time: they change nothing but, for the final checks, an event index.
    private static readonly string[] Questions =
    [
        "final-requests",
        "final-responses",
        "unconsumed-requests",
        "unconsumed-responses",
        "free-requests",
        "full",
        "request-prod-overflow",
        "request-cons-overflow",
        "response-prod-overflow",
        "request-offset",
        "response-offset",
    ];

    private readonly List<(string Operation, uint Argument)> _steps = [];
    private readonly Random _random;
    private readonly uint _entries;

    // Each index follows the one before it, by at most a ring.
    private uint _requestsPut;
    private uint _requestsPushed;
    private uint _requestsTaken;
    private uint _responsesPut;
    private uint _responsesPushed;
    private uint _responsesTaken;

    private RingScript(uint entries, uint index, int seed)
    {
        _entries = entries;
        _random = new Random(seed);
        _requestsPut = _requestsPushed = _requestsTaken = _responsesPut = _responsesPushed = _responsesTaken = index;
    }

    public static (string Operation, uint Argument)[] Make(uint entries, uint index, int seed)
    {
        var script = new RingScript(entries, index, seed);
        foreach (string shared in new[] { "set-req-prod", "set-rsp-prod" })
            script._steps.Add((shared, index));
        foreach (string shared in new[] { "set-req-event", "set-rsp-event" })
            script._steps.Add((shared, index + 1));
        while (script._steps.Count < Length)
            script.Step();
        return [.. script._steps];
    }

    private void Step()
    {
        switch (_random.Next(10))
        {
            case 0:
                _requestsPut += Add("put-requests", _entries - (_requestsPut - _responsesTaken));
                break;
            case 1:
                _steps.Add(("push-requests", 0));
                _requestsPushed = _requestsPut;
                break;
            case 2:
                _requestsTaken += Add("take-requests", _requestsPushed - _requestsTaken);
                break;
            case 3:
                _responsesPut += Add("put-responses", _requestsTaken - _responsesPut);
                break;
            case 4:
                _steps.Add(("push-responses", 0));
                _responsesPushed = _responsesPut;
                break;
            case 5:
                _responsesTaken += Add("take-responses", _responsesPushed - _responsesTaken);
                break;
            case 6 when _random.Next(4) == 0:
                Scribble();
                break;
            default:
                Ask();
                break;
        }
    }

    /// <summary>
    /// All there is, as often as only some of it: the full and the empty ring are where decisions turn.
    /// </summary>
    private uint Add(string operation, uint available)
    {
        uint amount = _random.Next(2) == 0 ? available : (uint)_random.Next((int)available + 1);
        _steps.Add((operation, amount));
        return amount;
    }

    private void Ask()
    {
        string question = Questions[_random.Next(Questions.Length)];
        // Around the indexes of the moment, and just past what the ring holds.
        _steps.Add((question, _responsesPut + (uint)_random.Next(-3, (int)_entries + 4)));
    }

    private void Scribble()
    {
        uint anything =
            _random.Next(2) == 0
                ? (uint)_random.NextInt64(1L << 32)
                : _requestsPut + (uint)_random.Next(-5, (int)_entries + 5);
        switch (_random.Next(4))
        {
            case 0:
                _steps.Add(("set-req-event", anything));
                break;
            case 1:
                _steps.Add(("set-rsp-event", anything));
                break;
            case 2:
                _steps.Add(("set-req-prod", anything));
                Ask();
                Ask();
                _steps.Add(("set-req-prod", _requestsPushed));
                break;
            default:
                _steps.Add(("set-rsp-prod", anything));
                Ask();
                Ask();
                _steps.Add(("set-rsp-prod", _responsesPushed));
                break;
        }
    }
}
