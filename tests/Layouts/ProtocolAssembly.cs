using System.Reflection;

namespace Blkring.Layouts.Tests;

/// <summary>Where the types generated from the specs are.</summary>
internal static class ProtocolAssembly
{
    public static Assembly Types => typeof(Abi.Blkif).Assembly;
}
