using System.Globalization;
using Blkring.Engine.Hypervisor;

namespace Blkring.Engine.Tests.Hypervisor;

/// <summary>The struct that is handed to libxengnttab as it is, against the library's own header.</summary>
public sealed unsafe class GrantLayoutTests
{
    private const string Probe = """
        #include <stddef.h>
        #include <stdint.h>
        #include <stdio.h>
        #include <xengnttab.h>
        #define P(name, value) printf("%s %zu\n", name, (size_t)(value))
        typedef xengnttab_grant_copy_segment_t S;
        int main(void) {
            P("size", sizeof(S));
            P("source.virt", offsetof(S, source.virt));
            P("source.foreign", offsetof(S, source.foreign));
            P("dest.virt", offsetof(S, dest.virt));
            P("dest.foreign", offsetof(S, dest.foreign));
            P("len", offsetof(S, len));
            P("flags", offsetof(S, flags));
            P("status", offsetof(S, status));
            P("foreign", sizeof(((S *)0)->source.foreign));
            P("foreign.ref", offsetof(S, source.foreign.ref));
            P("foreign.offset", offsetof(S, source.foreign.offset));
            P("foreign.domid", offsetof(S, source.foreign.domid));
            return 0;
        }
        """;

    [Fact]
    [Proves("B9")]
    public void The_grant_copy_segment_is_laid_out_as_xengnttab_h_says()
    {
        GrantCopySegment segment;
        ForeignAddress foreign;
        byte* s = (byte*)&segment,
            f = (byte*)&foreign;
        Dictionary<string, long> ours = new()
        {
            ["size"] = sizeof(GrantCopySegment),
            ["source.virt"] = (byte*)&segment.SourceAddress - s,
            ["source.foreign"] = (byte*)&segment.SourceForeign - s,
            ["dest.virt"] = (byte*)&segment.DestAddress - s,
            ["dest.foreign"] = (byte*)&segment.DestForeign - s,
            ["len"] = (byte*)&segment.LengthBytes - s,
            ["flags"] = (byte*)&segment.Flags - s,
            ["status"] = (byte*)&segment.Status - s,
            ["foreign"] = sizeof(ForeignAddress),
            ["foreign.ref"] = (byte*)&foreign.Reference - f,
            ["foreign.offset"] = (byte*)&foreign.OffsetBytes - f,
            ["foreign.domid"] = (byte*)&foreign.Domain - f,
        };
        Assert.Equal(ours.OrderBy(pair => pair.Key), Headers().OrderBy(pair => pair.Key));
    }

    private static Dictionary<string, long> Headers()
    {
        using TempDirectory directory = new();
        return Programs
            .Output(CCompiler.Build(directory, Probe), [])
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split(' '))
            .ToDictionary(words => words[0], words => long.Parse(words[1], CultureInfo.InvariantCulture));
    }
}
